"""Operations on the codes of a trained model, and a prior over them."""
