"""Messages of Unfold's pages that Unfold does not translate into Russian. They are listed for makemessages."""

from django.utils.translation import gettext_noop as _

UNFOLD_MESSAGES = (
    _("Add %(name)s"),
    _("Add another %(model)s"),
    _("Apply Filters"),
    _("By %(filter_title)s"),
    _("Cancel"),
    _("Change selected %(model)s"),
    _("Choose file to upload"),
    _("Dark"),
    _("Date"),
    _("Delete selected %(model)s"),
    _("Expand row"),
    _("False"),
    _("General"),
    _("Go back"),
    _("Light"),
    _("More actions"),
    _("Next"),
    _("Previous"),
    _("Reset filters"),
    _("Return to site"),
    _("Run"),
    _("Select action"),
    _("Select action to run"),
    _("Select all rows"),
    _("Select record"),
    _("Select value"),
    _("Sorting priority: %(priority_number)s"),
    _("System"),
    _("Toggle password visibility"),
    _("True"),
    _("Type to search"),
    _("View selected %(model)s"),
    _("You have been successfully logged out from the administration"),
    _("Enter a new password for the user <strong>%(username)s</strong>."),
    _("After you've created a user, you’ll be able to edit more user options."),
    _(
        "Raw passwords are not stored, so there is no way to see this user’s password, but you can change the password "
        'using <a href="{}" class="text-primary-600 dark:text-primary-500">this form</a>.'
    ),
    _(
        'Are you sure you want to delete the %(object_name)s "%(escaped_object)s"? All of the following related items '
        "will be deleted:"
    ),
    _(
        "Are you sure you want to delete the selected %(objects_name)s? All of the following objects and their related "
        "items will be deleted:"
    ),
    _(
        "Deleting the %(object_name)s '%(escaped_object)s' would require deleting the following protected related "
        "objects:"
    ),
    _("Deleting the selected %(objects_name)s would require deleting the following protected related objects:"),
    _(
        "You are authenticated as %(username)s, but are not authorized to access this page. Would you like to login to "
        "a different account?"
    ),
)
