"""Approved templates: what may be sent after the service window has closed. By package and module:

content/     structure, rendering and validation of one template; no database
matching/    pasted text -> template and values, or why not; no database
models       templates, their former texts and their events
provider/    the provider's list of templates, and submission for approval
transfer/    import and export as files
index_cache  the texts of an account, indexed for matching, in each process
admin/       the admin's pages; ``views``, ``preview`` and ``selection`` are the operators'
"""
