"""Ensembles: several models that answer as one. Diverse ones fall less often to the same example; each is attacked through all of them at once."""
