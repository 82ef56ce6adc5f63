"""The template panel of the composer, and values prefilled from the chat."""
