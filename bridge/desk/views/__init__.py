"""Views of the desk: one module per page or form."""
