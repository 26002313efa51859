"""Networks that know good pictures: an autoencoder that is trained, memories of features that are fitted in one pass."""
