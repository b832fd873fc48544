"""Folds: stratified, by site, published."""
