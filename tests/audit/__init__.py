"""`make audit`: automatic checks of the code and of the packages it uses."""
