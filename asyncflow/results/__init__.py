"""How values become bytes, where large ones lie, and what people see of them."""
