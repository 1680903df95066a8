"""Changes that optimise nothing: what no report should lack, since an attack that cannot beat them is broken."""
