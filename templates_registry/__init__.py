"""Message templates, which can be sent while the service window is closed. By package and module:

content/     structure, rendering and validation of one template; no database
matching/    matching of pasted text to a template and its values; no database
models       templates, their versions and events
lifecycle    changes of templates, with their records
provider/    synchronization with the provider's list, and submission for approval
transfer/    import and export as files
index_cache  match index of each account, per process
admin/       pages for admins
views        pages for operators, with ``preview``, ``selection`` and ``timeline``
"""
