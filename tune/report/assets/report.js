(async () => {
  const plots = [...document.querySelectorAll('.plot')];
  try {
    const source = document.getElementById('plotly'), script = document.createElement('script');
    if (source.type === 'text/plain') {
      await new Promise((done, fail) => {
        script.onload = done;
        script.onerror = () => fail(new Error('Plotly is fetched from ' + new URL(source.textContent).host));
        script.src = source.textContent;
        document.head.appendChild(script);
      });
    } else {
      const packed = Uint8Array.from(atob(source.textContent), c => c.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
      script.textContent = await new Response(stream).text();
      document.head.appendChild(script);
    }
    const figures = JSON.parse(document.getElementById('figures').textContent);
    const wrapped = name => name.replace(/(.{12}[^ _]*[ _])(?=.{4})/g, '$1<br>');
    const shared = {font: {family: 'system-ui, sans-serif', size: 13, color: '#1c2733'}, paper_bgcolor: '#fff',
      plot_bgcolor: '#fff', colorway: ['#0b6e99', '#d1495b', '#edae49', '#4c956c', '#7a5195', '#66707a']};
    plots.forEach((plot, i) => {
      const layout = {...shared, ...figures[i].layout}, narrow = plot.clientWidth < 560;
      let {data} = figures[i];
      if (narrow) layout.font = {...shared.font, size: 11};
      if (narrow && layout.yaxis && layout.yaxis.type === 'category') { // names leave little room for the numbers
        data = data.map(trace => ({...trace, y: trace.y.map(wrapped)}));
        const names = [...new Set(data.flatMap(trace => trace.y))];
        layout.height += 14 * names.length * Math.max(...names.map(name => name.split('<br>').length - 1));
      }
      if (narrow && layout.grid) {
        layout.grid = {...layout.grid, rows: data.length, columns: 1};
        layout.height = 60 + 250 * data.length;
      }
      if (data[0].type === 'heatmap') plot.style.minWidth = 130 + 58 * data[0].x.length + 'px';
      if (data[0].dimensions) plot.style.minWidth = 85 * data[0].dimensions.length + 'px';
      Plotly.newPlot(plot, data, layout, {responsive: true, displayModeBar: false});
      plot.on('plotly_click', event => {
        const url = event.points && event.points[0] && event.points[0].customdata;
        if (typeof url === 'string' && /^(https?:|#)/.test(url)) window.open(url, url[0] === '#' ? '_self' : '_blank', 'noopener');
      });
    });
  } catch (error) {
    plots.forEach(plot => { plot.textContent = 'The figure cannot be drawn here (' + error.message + ').'; });
  }
})();
