"""How fast asyncflow is, always beside a floor: a plain program that does the least that could be called the same."""
