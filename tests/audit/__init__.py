"""`make audit`: what automatic tools can say of the code and of the packages it is built from."""
