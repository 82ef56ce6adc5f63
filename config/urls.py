"""All URLs of the portal. config/web/route_access.py declares who may use each of them."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from bridge.admin import start_page
from bridge.api import views
from bridge.desk import forms, template_link_page
from bridge.desk.views import (
    bulk_actions,
    canned_responses,
    chat_actions,
    chat_bulk,
    chat_files,
    chats,
    client_actions,
    client_consent,
    client_editing,
    client_merging,
    contact_export,
    contact_import,
    contacts,
    file_uploads,
    installable_app,
    macros,
    missed_windows,
    new_chat,
    notifications,
    own_replies,
    palette,
    reactions,
    reply_times,
    requests,
    saved_views,
    send_template,
    settings_page,
    snoozing,
    tag_suggestions,
    template_panel,
    template_testing,
    thread_notes,
    training_phone,
)
from bridge.files import attachment_files, share_links
from bridge.intake import webhooks
from bridge.uapi import base, methods
from channels_setup.views import handover
from templates_registry import views as registry

from .accounts import login
from .accounts.language import set_language
from .monitoring import health, metrics
from .web import csp_reports

handler400 = "config.web.middleware.bad_request"
handler403 = "config.web.middleware.permission_denied"
handler404 = "config.web.middleware.page_not_found"
handler500 = "config.web.middleware.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    # programs
    path("webhooks/<slug:kind>/<str:token>/", webhooks.provider_webhook, name="webhook"),
    path("webhooks/<slug:kind>/<str:token>", webhooks.provider_webhook),  # a redirect would lose the body
    *[re_path(rf"^uapi/{method}/?$", view, name=f"uapi-{method}") for method, view in methods.METHODS.items()],
    path("uapi/<path:name>", base.NoSuchMethod.as_view()),
    path("api/v1/", include(views.router.urls)),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path(
        "api/docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="bridge/api_docs.html"),
        name="api-docs",
    ),
    re_path(r"^api/", views.api_not_found),
    path("health/ready", health.readiness, name="health-ready"),
    path("csp-report/", csp_reports.receive_reports, name="csp-report"),
    path("metrics", metrics.export_metrics, name="metrics"),
    # files
    path("files/<int:pk>/", chat_files.serve_chat_file, name="file"),
    path("files/shared/<str:signature>/", attachment_files.serve_signed_file, name="signed-file"),
    path("shared/<str:signature>/", share_links.show_shared_file, name="shared"),
    path("shared/<str:signature>/file", share_links.download_shared_file, name="shared-file"),
    path("send/<str:signature>/", template_link_page.show_template_link, name="template-link"),
    # the desk
    path("chats/", chats.show_chats, name="chats"),
    path("chats/updates/", chats.poll_updates, name="chats-updates"),
    path("desk/availability/", notifications.choose_availability, name="availability"),
    path("desk/settings/notifications/", notifications.edit_notifications, name="notification-settings"),
    path("desk/push/", notifications.subscribe, name="push-subscribe"),
    path("desk/push/delete/", notifications.unsubscribe, name="push-unsubscribe"),
    path("desk/push/test/", notifications.send_test, name="push-test"),
    path("manifest.webmanifest", installable_app.show_manifest, name="manifest"),
    path("service-worker.js", installable_app.show_service_worker, name="service-worker"),
    path("offline/", installable_app.show_offline_page, name="offline"),
    path("desk/settings/", settings_page.edit_settings, name="desk-settings"),
    path("chats/find/", palette.search_palette, name="palette-search"),
    path("chats/next-waiting/", palette.find_next_waiting, name="next-waiting"),
    path("chats/bulk/", chat_bulk.change_chats, name="chats-bulk"),
    path("chats/bulk/undo/", chat_bulk.undo_change, name="chats-bulk-undo"),
    path("chats/bulk/choices/", chat_bulk.show_choices, name="chats-bulk-choices"),
    path("chats/session/", forms.show_session, name="chats-session"),
    path("chats/<int:pk>/", chats.show_chat, name="chat"),
    path("chats/<int:pk>/send/", chat_actions.send_reply, name="chat-send"),
    path("chats/<int:pk>/files/", file_uploads.upload_file, name="chat-upload"),
    path("chats/<int:pk>/files/<int:upload_id>/", file_uploads.serve_upload, name="chat-upload-file"),
    path("chats/<int:pk>/files/<int:upload_id>/rename/", file_uploads.rename_upload, name="chat-upload-rename"),
    path("chats/<int:pk>/files/<int:upload_id>/delete/", file_uploads.delete_upload, name="chat-upload-delete"),
    path("chats/<int:pk>/canned-responses/", canned_responses.show_canned_responses, name="chat-canned-responses"),
    path("chats/<int:pk>/client/edit/", client_editing.edit_client, name="chat-client-edit"),
    path("chats/<int:pk>/client/merge/", client_merging.merge_clients, name="chat-client-merge"),
    path(
        "chats/<int:pk>/client/merges/<int:merge_id>/undo/",
        client_merging.undo_client_merge,
        name="chat-client-unmerge",
    ),
    path("chats/<int:pk>/client/notes/", client_editing.add_note, name="chat-note-add"),
    path("chats/<int:pk>/client/notes/<int:note_id>/edit/", client_editing.edit_note, name="chat-note-edit"),
    path("chats/<int:pk>/client/notes/<int:note_id>/delete/", client_editing.delete_note, name="chat-note-delete"),
    path("chats/<int:pk>/notes/", thread_notes.add_note, name="thread-note-add"),
    path("chats/<int:pk>/notes/<int:note_id>/edit/", thread_notes.edit_note, name="thread-note-edit"),
    path("chats/<int:pk>/notes/<int:note_id>/delete/", thread_notes.delete_note, name="thread-note-delete"),
    path("chats/<int:pk>/people/", thread_notes.list_people, name="chat-people"),
    path("chats/<int:pk>/client/tags/", client_actions.edit_tags, name="chat-tags"),
    path("chats/<int:pk>/client/tags/suggested/", client_actions.suggest_tags, name="chat-tags-suggested"),
    path("chats/<int:pk>/client/erase/", client_actions.erase_client, name="chat-erase"),
    path("chats/<int:pk>/client/export/", client_actions.export_client, name="chat-export"),
    path("chats/<int:pk>/draft/", chat_actions.save_draft, name="chat-draft"),
    path("chats/<int:pk>/seen/", chat_actions.mark_chat_seen, name="chat-seen"),
    path("chats/<int:pk>/assign/", chat_actions.assign_chat, name="chat-assign"),
    path("chats/<int:pk>/macros/<int:macro_id>/", macros.run_macro, name="chat-macro"),
    path("chats/<int:pk>/snooze/", snoozing.snooze_chat, name="chat-snooze"),
    path("chats/<int:pk>/request/", chat_actions.change_ticket_status, name="chat-ticket-status"),
    path("chats/<int:pk>/messages/<int:message_id>/trail/", chats.show_delivery_trail, name="message-trail"),
    path("chats/<int:pk>/messages/<int:message_id>/resend/", chat_actions.resend_message, name="message-resend"),
    path("chats/<int:pk>/messages/<int:message_id>/reaction/", reactions.react_to_message, name="message-react"),
    path("chats/<int:pk>/files/<int:file_id>/fetch/", chat_actions.refetch_file, name="chat-fetch-file"),
    path(
        "chats/<int:pk>/messages/<int:message_id>/accept-unknown/",
        chat_actions.accept_unknown_outcome,
        name="message-accept-unknown",
    ),
    path("chats/<int:pk>/templates/", template_panel.show_template_picker, name="chat-templates"),
    path("chats/<int:pk>/templates/recognize/", template_panel.recognize, name="chat-recognize"),
    path("chats/<int:pk>/templates/<int:template_id>/", template_panel.show_template_panel, name="chat-template"),
    path("chats/<int:pk>/templates/<int:template_id>/send/", template_panel.send_template, name="chat-template-send"),
    path("chats/<int:pk>/templates/<int:template_id>/hold/", template_panel.hold_text, name="chat-hold"),
    path("chats/<int:pk>/held/<int:held_id>/unhold/", template_panel.unhold_reply, name="chat-unhold"),
    path("desk/tags/", tag_suggestions.suggest_filter_tags, name="filter-tags"),
    path("desk/views/", saved_views.show_saved_views, name="saved-views"),
    path("desk/views/add/", saved_views.add_view, name="saved-view-add"),
    path("desk/views/counts/<slug:view_page>/", saved_views.count_views, name="saved-view-counts"),
    path("desk/views/<int:pk>/", saved_views.open_view, name="saved-view"),
    path("desk/views/<int:pk>/edit/", saved_views.edit_view, name="saved-view-edit"),
    path("desk/replies/", own_replies.show_own_replies, name="own-replies"),
    path("desk/replies/<slug:reply_kind>/", own_replies.edit_own_reply, name="own-reply-new"),
    path("desk/replies/<slug:reply_kind>/<int:pk>/", own_replies.edit_own_reply, name="own-reply"),
    path("contacts/", contacts.show_contacts, name="contacts"),
    path("contacts/import/", contact_import.start_import, name="contacts-import"),
    path("contacts/import/<int:pk>/", contact_import.show_import, name="contacts-import-one"),
    path("contacts/import/<int:pk>/refused.csv", contact_import.download_refused, name="contacts-import-refused"),
    path("contacts/export.<slug:file_format>", contact_export.export_contacts, name="contacts-export"),
    path("contacts/new-chat/", new_chat.start_new_chat, name="chat-new"),
    path("chats/<int:pk>/client/consent/", client_consent.edit_consent, name="chat-consent"),
    path("requests/", requests.show_requests, name="requests"),
    path("requests/change/", bulk_actions.change_requests, name="requests-change"),
    path("requests/undo/", bulk_actions.undo_change, name="requests-undo"),
    path("windows/", missed_windows.show_missed_windows, name="missed-windows"),
    path("windows/replies/", reply_times.show_reply_times, name="reply-times"),
    path("windows/missed.csv", missed_windows.download_missed_windows, name="missed-windows-csv"),
    path("templates/", registry.show_templates, name="templates"),
    path("templates/<int:pk>/", registry.show_template, name="template"),
    path("templates/<int:pk>/favorite/", registry.set_favorite, name="template-favorite"),
    path("templates/<int:pk>/send/", send_template.send_template_to_chat, name="template-send"),
    path("templates/<int:pk>/test/", template_testing.show_template_test, name="template-test"),
    path("phone/<int:pk>/", training_phone.show_phone, name="phone"),
    path("phone/<int:pk>/messages", training_phone.list_phone_messages, name="phone-messages"),
    path("phone/<int:pk>/post", training_phone.post_phone_event, name="phone-post"),
    # people's own accounts
    path("", include("config.accounts.urls")),
    # other pages
    path("", start_page.show_start_page, name="start"),
    path("handover/<str:token>/", handover, name="handover"),
    path("i18n/setlang/", set_language, name="set_language"),
    path("admin/login/", login.AdminLogin.as_view()),
    path("admin/logout/", login.Logout.as_view()),
    # Django's own page would neither record the change nor tell the user.
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("admin/", admin.site.urls),
]
