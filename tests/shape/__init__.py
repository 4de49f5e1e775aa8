"""The shape of the house: sizes, imports, exports and the error tree."""
