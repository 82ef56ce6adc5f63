"""Floor 2: what may be said after the window closes. Approved texts, their variables, and the way back.

    components   a template as the provider knows it: header, body, footer, buttons, variables
    validating   what is wrong with one, as sentences at the field
    rendering    template + values -> what the phone will show, and the provider's parameter lists
    normalising  what a paste may differ in without meaning anything else, folded away
    patterns     one text of a template, fixed parts and variables, and every way a paste can be read as it
    matching     the inverse of rendering: a pasted text -> template + values, or why not
    shelving     finds the few patterns worth reading among thousands
    nearest      no template fits: the closest one, and the words in which it differs
    linting      what is allowed but will hurt: ambiguous variables, templates that one text fits both
    sentences    every sentence of the above, one closed catalogue

All of these are pure: no database, no settings, frozen values in and out.
"""
