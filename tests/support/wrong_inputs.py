"""Wrong inputs of every command: by mechanism, the words of a command line and what its one line must contain.

Words are parted by two spaces. `{files}` is a folder of wrong files (`write_files`), `{state}` a state folder.
"""

from __future__ import annotations

import json
from pathlib import Path

DRY = "  --dry-run  --state  {state}"
OWN = "  --state  {state}"

MATCH = "{{metric: validation/exact_match}}"

Case = tuple[str, tuple[str, ...]]
"""Words, and the wrong value, its place and the way out."""

COMMAND_LINE: dict[str, list[Case]] = {
    "unknown command": [
        ("serach", ("serach", "did you mean search?")),
        ("data  gte", ("gte", "did you mean get?")),
        ("nosuch", ("nosuch", "known: ", "search")),
    ],
    "unknown option": [
        ("--nosuch", ("--nosuch", "known: --help")),
        ("config  --doc", ("t5vqvae config", "--doc", "did you mean --docs?")),
        ("search  --trails  3", ("--trails", "did you mean --trials?")),
        ("promote  quickstart  --replcae", ("--replcae", "did you mean --replace?")),
        ("report  quickstart  --onto  x", ("--onto", "did you mean --into?")),
    ],
    "missing argument": [
        ("ablate", ("ablate", "'STUDY'", "--help")),
        ("promote", ("promote", "'STUDY'", "--help")),
        ("report", ("report", "'STUDY'", "--help")),
        ("data  get", ("data get", "'NAME'", "--help")),
        ("trials", ("trials", "'STUDY'", "--help")),
    ],
    "missing argument of a look": [
        ("status", ("status", "'STUDY'", "--help")),
        ("trial", ("trial", "'STUDY'", "--help")),
        ("diff  quickstart  1", ("diff", "'B'", "--help")),
        ("compare  quickstart", ("compare", "'MODEL_B'", "--help")),
        ("rerun  quickstart", ("rerun", "'N'", "--help")),
    ],
    "no study to act on": [
        ("stop  nosuch" + OWN, ("nosuch", "{state}/studies", "--state")),
        ("remove  nosuch" + OWN, ("nosuch", "{state}/studies", "--state")),
        ("rerun  nosuch  1" + OWN, ("nosuch", "{state}/studies", "--state")),
    ],
    "no number of a trial or a port": [
        ("trial  quickstart  x", ("trial", "'x'", "--help")),
        ("diff  quickstart  1  2.5", ("diff", "'2.5'", "--help")),
        ("trials  quickstart  --best  few", ("--best", "few")),
        ("up  --mlflow-port  70000" + OWN, ("--mlflow-port", "70000")),
        ("rerun  quickstart  1  --seed  -1" + OWN, ("--seed", "-1")),
    ],
    "missing value": [
        ("search  --trials", ("--trials", "requires an argument")),
        ("promote  quickstart  --gate", ("--gate", "requires an argument")),
        ("report  quickstart  --into", ("--into", "requires an argument")),
    ],
    "one argument too many": [
        ("trials  a  b", ("trials", "(b)", "--help")),
        ("data  list  x", ("data list", "(x)", "--help")),
        ("report  a  b", ("report", "(b)", "--help")),
    ],
    "no override": [
        ("config  seed=1  train", ("'train'", "dotted.path=value")),
        ("config  =3", ("'=3'", "dotted.path=value")),
        ("search  quickstart  extra", ("'extra'", "dotted.path=value")),
        ("ablate  gumbel  extra", ("'extra'", "dotted.path=value")),
        ("ablate  gumbel  --from  {files}/nosuch.parquet", ("--from", "nosuch.parquet", "give runs.parquet")),
    ],
    "no YAML value": [
        ("config  data.corpus=[abc", ("data.corpus='[abc'", "in quotes")),
        ("search  question=@x", ("question='@x'", "in quotes")),
        ("config  seed={{a: 1, a: 2}}", ("seed=", "a stands twice")),
        ("train  seed=2026-13-45", ("seed='2026-13-45'", "in quotes")),
        ("ablate  gumbel  question=`x", ("question='`x'", "in quotes")),
    ],
    "trials": [
        ("search  --trials  0" + OWN, ("--trials 0", "+N for N more")),
        ("search  --trials  2.5" + OWN, ("--trials 2.5", "number of trials")),
        ("search  --trials  +x" + OWN, ("--trials +x", "+N for N more")),
    ],
    "no study": [
        ("promote  nosuch" + OWN, ("nosuch", "{state}/studies", "--state")),
        ("report  nosuch" + OWN, ("nosuch", "{state}/studies", "--state")),
        ("trials  nosuch" + OWN, ("nosuch", "{state}/studies", "--state")),
        ("ablate  gumbel  baseline={{study: nosuch}}" + DRY, ("baseline.study", "nosuch", "--state")),
        ("search  --from  nosuch" + OWN, ("--from", "nosuch", "--state")),
    ],
    "no study's name": [
        ("promote  a/b" + OWN, ("'a/b'", "STUDY", "not a path")),
        ("report  .." + OWN, ("'..'", "STUDY", "not a path")),
        ("trials  ../x" + OWN, ("'../x'", "STUDY", "not a path")),
        ("search  --from  a/b" + OWN, ("'a/b'", "--from", "not a path")),
    ],
    "no study file": [
        ("search  quickstrt", ("quickstrt", "did you mean quickstart?")),
        ("search  {files}/nosuch.yaml", ("{files}/nosuch.yaml", "known: ")),
        ("search  run=3/study.yaml", ("run=3/study.yaml", "known: ")),
        ("ablate  gumble", ("gumble", "did you mean gumbel?")),
    ],
    "the other kind": [
        ("search  position", ("position is an ablation", "t5vqvae ablate position")),
        ("ablate  quickstart", ("quickstart is a search", "t5vqvae search quickstart")),
        ("config  quickstart", ("quickstart is a study", "t5vqvae search quickstart")),
        ("train  gumbel", ("gumbel is a study", "t5vqvae ablate gumbel")),
        ("config  {files}/study.yaml", ("study.yaml is a study", "t5vqvae search")),
    ],
    "no corpus": [
        ("data  get  nosuch" + OWN, ("'nosuch'", "there are explanations")),
        ("data  get  explanations  --from  {files}/one.txt" + OWN, ("--from {files}/one.txt", "name the folder")),
        ("data  get  explanations  --from  {files}/nosuch" + OWN, ("--from {files}/nosuch", "name the folder")),
    ],
}
FILES: dict[str, list[Case]] = {
    "no file": [
        ("config  {files}/nosuch.yaml", ("{files}/nosuch.yaml is no file", "YAML file")),
        ("config  {files}/folder", ("{files}/folder is a folder", "YAML file")),
        ("train  train.max_steps", ("train.max_steps is no file", "path=value")),
    ],
    "no YAML": [
        ("config  {files}/bracket.yaml", ("{files}/bracket.yaml, line 2", "no valid YAML")),
        ("train  {files}/tab.yaml", ("{files}/tab.yaml, line 2", "no valid YAML")),
        ("search  {files}/tag.yaml", ("{files}/tag.yaml, line 1", "python/object")),
        ("ablate  {files}/alias.yaml", ("{files}/alias.yaml, line 1", "'nosuch'")),
        ("config  {files}/two.yaml", ("{files}/two.yaml, line 2", "another document")),
    ],
    "no text": [
        ("config  {files}/latin1.yaml", ("{files}/latin1.yaml", "UTF-8")),
        ("search  {files}/latin1.yaml", ("{files}/latin1.yaml", "UTF-8")),
        ("config  {files}/nul.yaml", ("{files}/nul.yaml", "special characters")),
    ],
    "no mapping": [
        ("config  {files}/list.yaml", ("{files}/list.yaml holds a list", "a mapping")),
        ("search  {files}/list.yaml", ("{files}/list.yaml holds a list", "a mapping")),
        ("ablate  {files}/words.yaml", ("{files}/words.yaml holds a text", "a mapping")),
        ("train  {files}/number.yaml", ("{files}/number.yaml holds a number", "a mapping")),
        ("train  {files}/key.yaml", ("{files}/key.yaml", "the key 3", "name of a setting")),
    ],
    "twice": [
        ("config  {files}/twice.yaml", ("{files}/twice.yaml, line 3", "max_steps stands twice", "line 2")),
        ("search  {files}/twice.yaml", ("{files}/twice.yaml, line 3", "max_steps stands twice", "line 2")),
        ("train  {files}/dotted.yaml", ("train.max_steps stands twice", "3", "4", "keep one")),
        (
            "search  quickstart  base={{train.batch_size: 32}}  train.batch_size=16" + DRY,
            ("train.batch_size stands twice", "32", "16", "keep one"),
        ),
    ],
    "endless": [
        ("config  {files}/deep.yaml", ("{files}/deep.yaml", "nested too deeply")),
        ("config  {files}/loop.yaml", ("{files}/loop.yaml", "leads into itself")),
        ("search  {files}/bomb.yaml", ("{files}/bomb.yaml", "aliases expand")),
    ],
    "unknown in a file": [
        ("config  {files}/run.yaml", ("{files}/run.yaml", "train.max_step", "did you mean train.max_steps?")),
        ("search  {files}/study.yaml" + DRY, ("nmae", "did you mean name?")),
    ],
    "no place to write": [
        ("train  --state  /proc/x", ("--state=/proc/x", "name another folder")),
        ("search  --state  {files}/one.txt", ("--state={files}/one.txt", "it is a file", "name another folder")),
        ("ablate  gumbel  --state  {files}/one.txt/x", ("--state={files}/one.txt/x", "name another folder")),
        ("train  --into  {files}/one.txt" + OWN, ("--into {files}/one.txt", "it is a file", "another folder")),
        ("data  get  explanations  --state  /proc/x", ("--state=/proc/x", "name another folder")),
    ],
}
SETTINGS: dict[str, list[Case]] = {
    "unknown setting": [
        ("config  train.max_step=3", ("train.max_step ", "did you mean train.max_steps?")),
        ("train  trian.max_steps=3", ("trian.max_steps", "did you mean train?")),
        ("search  budget.trails=3" + DRY, ("budget.trails", "did you mean budget.trials?")),
        ("ablate  gumbel  quantizer.codebok_size=3" + DRY, ("quantizer.codebok_size", "quantizer.codebook_size?")),
        ("config  quantizer.name=fsq  quantizer.decay=0.9", ("quantizer.decay", "known: ", "levels")),
    ],
    "no setting": [
        ("config  train..max_steps=3", ("train..max_steps", "known: ")),
        ("config  .train=3", (".train", "known: ")),
        ("config  train.=3", ("train.", "known: ", "max_steps")),
        ("config  train.max_steps.x=3", ("train.max_steps.x", "did you mean train.max_steps?")),
    ],
    "no whole number": [
        ("config  train.max_steps=abc", ("train.max_steps='abc'", "whole number")),
        ("config  train.max_steps=[1,2]", ("train.max_steps=[1, 2]", "whole number")),
        ("config  seed=1.5", ("seed=1.5", "whole number")),
        ("config  train.max_steps=10:00", ("train.max_steps='10:00'", "whole number")),
        ("search  budget.trials=1.5" + DRY, ("budget.trials=1.5", "whole number")),
    ],
    "no number": [
        ("config  optim.learning_rate=fast", ("optim.learning_rate='fast'", "a number")),
        ("config  train.max_steps=true", ("train.max_steps=true", "a number")),
        ("config  optim.learning_rate=false", ("optim.learning_rate=false", "a number")),
    ],
    "not finite": [
        ("config  optim.learning_rate=.inf", ("optim.learning_rate=inf", "finite")),
        ("config  optim.learning_rate=nan", ("optim.learning_rate='nan'", "finite")),
        ("config  train.max_steps=1e400", ("train.max_steps=inf", "finite")),
        ("search  budget.hours=.nan" + DRY, ("budget.hours=nan", "finite")),
    ],
    "too small": [
        ("config  train.batch_size=0", ("train.batch_size=0", "at least 1")),
        ("config  optim.learning_rate=-1", ("optim.learning_rate=-1", "more than 0")),
        ("search  budget.trials=0" + DRY, ("budget.trials=0", "at least 1")),
        ("ablate  gumbel  trials_per_arm=1" + DRY, ("trials_per_arm=1", "at least 2")),
        ("search  resources.cpus=0" + DRY, ("resources.cpus=0", "more than 0")),
    ],
    "too large": [
        ("config  model.dropout=1.5", ("model.dropout=1.5", "less than 1")),
        ("config  quantizer.decay=2", ("quantizer.decay=2", "between 0 and 1")),
        ("config  quantizer.codebook_size=99999999999999999999", ("quantizer.codebook_size=9999", "at most")),
        ("train  model.position=99", ("model.position=99", "at most model.num_layers=2")),
        ("ablate  gumbel  alpha=2" + DRY, ("alpha=2", "between 0 and 1")),
    ],
    "no choice": [
        ("config  train.precision=fp8", ("train.precision='fp8'", "bfloat16")),
        ("config  data.tokenizer.kind=bpe", ("data.tokenizer.kind='bpe'", "unigram")),
        ("search  scheduler.name=hyperband" + DRY, ("scheduler.name='hyperband'", "asha")),
        ("search  runner=local" + DRY, ("runner='local'", "process")),
        ("ablate  gumbel  test=z" + DRY, ("test='z'", "permutation")),
    ],
    "no variant": [
        ("config  quantizer.name=emma", ("quantizer.name='emma'", "'ema'")),
        ("config  model.name=gpt", ("model.name='gpt'", "'t5vqvae'")),
        ("config  data.corpus={{name: txt}}", ("data.corpus.name='txt'", "'text'")),
        ("search  sampler.name=tep" + DRY, ("sampler.name='tep'", "'tpe'")),
        ("ablate  gumbel  design.name=x" + DRY, ("design.name='x'", "'sweep'")),
    ],
    "no section": [
        ("config  train=3", ("train=3", "train.max_steps")),
        ("config  quantizer=ema", ("quantizer='ema'", "quantizer.name")),
        ("config  data=null", ("data=None", "data.corpus")),
        ("search  base=3" + DRY, ("base=3", "a mapping")),
        ("ablate  gumbel  objective=3" + DRY, ("objective=3", "objective.metric")),
    ],
    "no text or list": [
        ("search  question=[1]" + DRY, ("question=[1]", "text")),
        ("search  tracking.uri=5" + DRY, ("tracking.uri=5", "text")),
        ("search  objectives=3" + DRY, ("objectives=3", "a list")),
        ("ablate  gumbel  arms=3" + DRY, ("arms=3", "a list")),
        ("config  model.backbone=5", ("model.backbone=5", "text")),
    ],
    "missing setting": [
        ("train  data.corpus.name=text" + OWN, ("data.corpus.path is missing",)),
        ("config  quantizer={{}}", ("quantizer={{}} has no setting", "leave it out")),
        ("ablate  gumbel  design={{name: sweep}}" + DRY, ("design.path is missing", "design.values is missing")),
    ],
    "settings that do not fit": [
        ("config  model.d_model=10  model.num_heads=3", ("model.num_heads=3", "model.d_model=10", "divide")),
        ("train  train.device=cuda" + OWN, ("train.device=cuda", "train.device=auto")),
        ("config  train.device=cuda", ("train.device=cuda", "train.device=auto")),
    ],
}
STUDIES: dict[str, list[Case]] = {
    "name": [
        ("search  name=a/b" + DRY, ("name='a/b'", "letters, digits")),
        ("search  name=.." + DRY, ("name='..'", "letters, digits")),
        ("search  name=" + "a" * 300 + DRY, ("name='aaa", "at most 100 characters")),
        ("ablate  gumbel  name=a b" + DRY, ("name='a b'", "letters, digits")),
        ("search  name=" + DRY, ("name=None", "text")),
    ],
    "range": [
        ("search  space.quantizer.decay=0.5" + DRY, ("space.quantizer.decay=0.5", "{{type: float")),
        (
            "search  space.quantizer.decay={{type: flaot, low: 0.1, high: 0.5}}" + DRY,
            ("space.quantizer.decay.type='flaot'", "float, int, choice"),
        ),
        (
            "search  space.quantizer.decay={{type: float, low: 0.5, high: 0.1}}" + DRY,
            ("space.quantizer.decay.low=0.5", "less than high=0.1"),
        ),
        ("search  space.quantizer.decay={{type: float, low: 0.1}}" + DRY, ("decay.high is missing",)),
        (
            "search  space.quantizer.decay={{type: [float], low: 0.1, high: 0.5}}" + DRY,
            ("space.quantizer.decay.type=['float']", "float, int, choice"),
        ),
    ],
    "range of a setting": [
        (
            "search  space.quantizer.deacy={{type: float, low: 0.1, high: 0.5}}" + DRY,
            ("quantizer.deacy", "did you mean quantizer.decay?"),
        ),
        (
            "search  space.quantizer.decay={{type: float, low: 0.1, high: 2}}" + DRY,
            ("quantizer.decay=2.0", "between 0 and 1"),
        ),
        (
            "search  space.quantizer.decay={{type: float, low: -1, high: 0.5, log: true}}" + DRY,
            ("space.quantizer.decay.low=-1.0", "more than 0 with log"),
        ),
        ("search  space.seed={{type: int, low: 0, high: 5}}" + DRY, ("space.seed", "ablation")),
        ("search  quantizer.codebook_size=8" + DRY, ("quantizer.codebook_size=8", "widen")),
    ],
    "choices": [
        ("search  space.quantizer.decay={{type: choice}}" + DRY, ("space.quantizer.decay.choices is missing",)),
        (
            "search  space.quantizer.decay={{type: choice, choices: [0.5]}}" + DRY,
            ("space.quantizer.decay.choices=[0.5]", "at least 2"),
        ),
        (
            "search  space.quantizer.decay={{type: choice, choices: [0.5, 0.5]}}" + DRY,
            ("space.quantizer.decay.choices=[0.5, 0.5]", "remove one"),
        ),
        (
            "search  space.quantizer.decay={{type: choice, choices: [[1, 2], [3]]}}" + DRY,
            ("space.quantizer.decay.choices.0=[1, 2]", "number, text"),
        ),
        (
            "search  space.quantizer.decay={{type: choice, choices: [0.5, x]}}" + DRY,
            ("quantizer.decay='x'", "a number"),
        ),
    ],
    "objective": [
        ("search  objectives=[]" + DRY, ("objectives=[]", "at least 1")),
        (
            "search  objectives=[{{metric: validation/blue}}]" + DRY,
            ("validation/blue", "did you mean validation/bleu?"),
        ),
        ("search  objectives=[{{metric: test/bleu}}]" + DRY, ("test/bleu", "of validation/")),
        (
            "search  objectives=[{{metric: validation/bleu, direction: up}}]" + DRY,
            ("objectives.0.direction='up'", "'maximize'"),
        ),
        (
            f"search  objectives=[{MATCH}]  evaluate.num_generated=0" + DRY,
            ("needs decoded text", "evaluate.num_generated"),
        ),
    ],
    "constraint": [
        ("search  constraints=[rate/bits_per_token]" + DRY, ("'rate/bits_per_token'", "<= 10")),
        ("search  constraints=['rate/bits_per_tokn <= 3']" + DRY, ("rate/bits_per_tokn", "did you mean")),
        ("search  constraints=['rate/bits_per_token <= x']" + DRY, ("'rate/bits_per_token <= x'", "<= 10")),
        ("search  constraints=['test/bleu >= 3']" + DRY, ("test/bleu", "of validation/")),
    ],
    "scheduler": [
        ("search  scheduler.grace_steps=100000" + DRY, ("scheduler.grace_steps=100000", "train.max_steps=240")),
        ("search  scheduler.metric=nosuch" + DRY, ("scheduler.metric", "nosuch", "known: ")),
        ("search  train.max_steps=1" + DRY, ("train.max_steps=1", "scheduler.name=none")),
    ],
    "machines": [
        ("search  resources.gpus=lots" + DRY, ("resources.gpus='lots'", "auto")),
        ("search  runner=process  resources.workers=2" + DRY, ("runner=process", "resources.workers=2")),
        ("search  train.device=cuda" + DRY, ("train.device=cuda", "resources.gpus")),
        ("search  train.device=cpu  resources.gpus=1" + DRY, ("train.device=cpu", "resources.gpus=1")),
        ("search  train.num_workers=2" + DRY, ("train.num_workers", "resources.workers")),
    ],
    "an ablation's machines": [
        ("ablate  gumbel  runner=process  resources.workers=2" + DRY, ("runner=process", "resources.workers=2")),
        ("ablate  gumbel  train.device=cuda" + DRY, ("train.device=cuda", "resources.gpus")),
        ("ablate  gumbel  train.device=cpu  resources.gpus=1" + DRY, ("train.device=cpu", "resources.gpus=1")),
        ("ablate  gumbel  resources.workers=0" + DRY, ("resources.workers=0", "at least 1")),
    ],
    "an ablation's questions": [
        ("ablate  gumbel  seeds=1" + DRY, ("seeds=(0,)", "at least 2")),
        ("ablate  gumbel  seeds=[1, 1]" + DRY, ("seeds=[1, 1]", "different")),
        ("ablate  gumbel  arms=[]" + DRY, ("arms", "design", "one of them")),
        ("ablate  gumbel  beside=[nosuch]" + DRY, ("beside", "nosuch", "known: ")),
        (
            "ablate  gumbel  nuisance={{optim.learning_rte: {{type: float, low: 0.1, high: 1}}}}" + DRY,
            ("nuisance", "optim.learning_rte", "optim.learning_rate"),
        ),
    ],
}


def corpus(name: str, more: str = "") -> str:
    """The words that train on a file."""
    return f"train  data.corpus={{{{name: text, path: '{{files}}/{name}'{more}}}}}" + OWN


TWO_STAGES = (
    "train  data.corpus.name=syllogisms  data.corpus.size=20  data.corpus.validation_size=5  data.corpus.test_size=5"
    "  train.autoencode_steps=9  model.position=1" + OWN
)
DATA: dict[str, list[Case]] = {
    "no extra text": [
        (
            TWO_STAGES + "  data.extra_text={files}/nosuch.txt",
            ("data.extra_text='{files}/nosuch.txt'", "give the path"),
        ),
        (TWO_STAGES + "  data.extra_text={files}/blank.txt", ("data.extra_text", "{files}/blank.txt", "add some")),
        ("config  data.extra_text={files}/one.txt", ("data.extra_text", "{files}/one.txt", "train.autoencode_steps")),
    ],
    "no data": [
        (corpus("nosuch.txt"), ("data.corpus.path", "{files}/nosuch.txt", "give the path")),
        (corpus("folder"), ("data.corpus.path", "{files}/folder", "train.txt")),
        (corpus("x.xls"), ("{files}/x.xls", "xls", "data.corpus.format")),
        (corpus("twosplits"), ("{files}/twosplits", "train.csv", "keep one")),
        ("train  data.corpus={{name: public}}" + OWN, ("data.corpus.dataset", "t5vqvae data get explanations")),
    ],
    "no sentence": [
        (corpus("empty.txt"), ("{files}/empty.txt", "no sentence")),
        (corpus("blank.txt"), ("{files}/blank.txt", "no sentence")),
        (corpus("one.txt"), ("{files}/one.txt", "validation", "no sentence")),
    ],
    "no row": [
        (corpus("ragged.tsv"), ("{files}/ragged.tsv", "line 3", "columns")),
        (corpus("ragged.csv"), ("{files}/ragged.csv", "line 3", "fix")),
        (corpus("broken.jsonl"), ("{files}/broken.jsonl", "line 2", "JSON")),
        (corpus("quote.csv"), ("{files}/quote.csv", "quot")),
        (corpus("not.parquet"), ("{files}/not.parquet", "parquet")),
    ],
    "no encoding": [
        (corpus("latin.txt"), ("{files}/latin.txt", "UTF-8")),
        (corpus("surrogate.jsonl"), ("{files}/surrogate.jsonl", "line 2")),
    ],
    "no column": [
        (corpus("table.jsonl", ", source_column: nosuch"), ("source_column='nosuch'", "{files}/table.jsonl", "q, a")),
        (
            corpus("table.jsonl", ", source_column: q, target_column: b"),
            ("target_column='b'", "{files}/table.jsonl", "q, a"),
        ),
    ],
    "no backbone": [
        ("train  model.backbone={files}/nosuch" + OWN, ("{files}/nosuch", "model.backbone")),
        ("train  model.backbone={files}/folder" + OWN, ("{files}/folder", "model.backbone")),
    ],
}
EVERY = {**COMMAND_LINE, **FILES, **SETTINGS, **STUDIES, **DATA}


def write_files(folder: Path) -> None:
    """Writes the wrong files."""
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    texts = {
        "bracket.yaml": "train: [1\nseed: 2]\n",
        "tab.yaml": "train:\n\tmax_steps: 3\n",
        "tag.yaml": "seed: !!python/object:os.system x\n",
        "alias.yaml": "seed: *nosuch\n",
        "two.yaml": "seed: 1\n---\nseed: 2\n",
        "nul.yaml": "seed: 1\n\0",
        "list.yaml": "- 1\n- 2\n",
        "words.yaml": "hello there\n",
        "number.yaml": "5\n",
        "key.yaml": "3: 4\n",
        "twice.yaml": "train:\n  max_steps: 3\n  max_steps: 4\n",
        "dotted.yaml": "train.max_steps: 3\ntrain: {max_steps: 4}\n",
        "deep.yaml": f"seed: {'[' * 3000}{']' * 3000}\n",
        "loop.yaml": "train: &a {x: *a}\n",
        "bomb.yaml": f"a0: &a0 [1, 2]\n{levels}",
        "run.yaml": "train: {max_step: 3}\n",
        "study.yaml": "nmae: x\nbase: {train.max_steps: 5}\n",
        "empty.txt": "",
        "blank.txt": " \n\t\n",
        "one.txt": "a single sentence\n",
        "x.xls": "x",
        "ragged.tsv": "a\tb\n1\t2\n3\n",
        "ragged.csv": "a,b\n1,2\n3\n",
        "broken.jsonl": '{"text": "a"}\n{"text": \n',
        "quote.csv": 'text\n"a\nb\n',
        "not.parquet": "no parquet",
        "surrogate.jsonl": '{"text": "a"}\n{"text": "\\ud83d"}\n',
        "table.jsonl": "".join(json.dumps({"q": n, "a": n}) + "\n" for n in range(9)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "latin1.yaml").write_bytes("question: café\n".encode("latin-1"))
    (folder / "latin.txt").write_bytes("café\n".encode("latin-1"))
    (folder / "folder").mkdir()
    (folder / "twosplits").mkdir()
    for name in ("train.txt", "train.csv"):
        (folder / "twosplits" / name).write_text("text\na b\n")
