"""The whole public surface on one screen."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from bridge import api, files, shared_files, start, template_link_page, uapi, uapi_methods, webhooks
from bridge.desk import (
    actions,
    answering,
    bulk,
    chats,
    client_editing,
    client_merging,
    clients,
    composing,
    forms,
    missed,
    phone,
    requests,
    sending,
    template_testing,
    uploading,
)
from channels_setup.views import handover
from config import csp_reports, health, login, metrics
from config.language import set_language
from templates_registry import views as registry

handler400 = "config.middleware.bad_request"

urlpatterns: list[URLPattern | URLResolver] = [
    # machines
    path("webhooks/<slug:kind>/<str:token>/", webhooks.ProviderWebhook.as_view(), name="webhook"),
    path("webhooks/<slug:kind>/<str:token>", webhooks.ProviderWebhook.as_view()),  # a redirect would lose the body
    *[re_path(rf"^uapi/{method}/?$", view, name=f"uapi-{method}") for method, view in uapi_methods.METHODS.items()],
    path("uapi/<path:name>", uapi.NoSuchMethod.as_view()),
    path("api/v1/", include(api.router.urls)),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path(
        "api/docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="bridge/api_docs.html"),
        name="api-docs",
    ),
    re_path(r"^api/", api.nothing_here),
    path("health/ready", health.ready, name="health-ready"),
    path("csp-report/", csp_reports.receive, name="csp-report"),
    path("metrics", metrics.metrics, name="metrics"),
    # files
    path("files/<int:pk>/", files.chat_file, name="file"),
    path("files/shared/<str:signature>/", files.signed_file, name="signed-file"),
    path("shared/<str:signature>/", shared_files.page, name="shared"),
    path("shared/<str:signature>/file", shared_files.download, name="shared-file"),
    path("send/<str:signature>/", template_link_page.page, name="template-link"),
    # people: the desk
    path("chats/", chats.chats, name="chats"),
    path("chats/news/", chats.news, name="chats-news"),
    path("chats/session/", forms.session, name="chats-session"),
    path("chats/<int:pk>/", chats.chat, name="chat"),
    path("chats/<int:pk>/send/", actions.send, name="chat-send"),
    path("chats/<int:pk>/files/", uploading.upload, name="chat-upload"),
    path("chats/<int:pk>/files/<int:upload_id>/drop/", uploading.drop, name="chat-upload-drop"),
    path("chats/<int:pk>/answers/", answering.answers, name="chat-answers"),
    path("chats/<int:pk>/client/edit/", client_editing.edit, name="chat-client-edit"),
    path("chats/<int:pk>/client/merge/", client_merging.merge, name="chat-client-merge"),
    path("chats/<int:pk>/client/merges/<int:merge_id>/undo/", client_merging.undo, name="chat-client-unmerge"),
    path("chats/<int:pk>/client/notes/", client_editing.add_note, name="chat-note"),
    path("chats/<int:pk>/client/notes/<int:note_id>/edit/", client_editing.edit_note, name="chat-note-edit"),
    path("chats/<int:pk>/client/notes/<int:note_id>/drop/", client_editing.drop_note, name="chat-note-drop"),
    path("chats/<int:pk>/client/tags/", clients.tag, name="chat-tag"),
    path("chats/<int:pk>/client/erase/", clients.erase, name="chat-erase"),
    path("chats/<int:pk>/draft/", actions.draft, name="chat-draft"),
    path("chats/<int:pk>/seen/", actions.seen, name="chat-seen"),
    path("chats/<int:pk>/assign/", actions.assign, name="chat-assign"),
    path("chats/<int:pk>/request/", actions.ticket_status, name="chat-ticket"),
    path("chats/<int:pk>/messages/<int:message_id>/why/", chats.why_line, name="chat-why"),
    path("chats/<int:pk>/messages/<int:message_id>/again/", actions.send_again, name="chat-again"),
    path("chats/<int:pk>/files/<int:file_id>/fetch/", actions.fetch_file, name="chat-fetch-file"),
    path("chats/<int:pk>/messages/<int:message_id>/leave/", actions.leave, name="chat-leave"),
    path("chats/<int:pk>/templates/", composing.picker, name="chat-templates"),
    path("chats/<int:pk>/templates/recognise/", composing.recognise, name="chat-recognise"),
    path("chats/<int:pk>/templates/<int:template_id>/", composing.panel, name="chat-template"),
    path("chats/<int:pk>/templates/<int:template_id>/send/", composing.send, name="chat-template-send"),
    path("chats/<int:pk>/templates/<int:template_id>/hold/", composing.hold, name="chat-hold"),
    path("chats/<int:pk>/held/<int:held_id>/back/", composing.take_back, name="chat-take-back"),
    path("requests/", requests.requests, name="requests"),
    path("requests/change/", bulk.change, name="requests-change"),
    path("requests/undo/", bulk.undo, name="requests-undo"),
    path("windows/", missed.report, name="missed-windows"),
    path("windows/missed.csv", missed.as_csv, name="missed-windows-csv"),
    path("templates/", registry.templates, name="templates"),
    path("templates/<int:pk>/", registry.template, name="template"),
    path("templates/<int:pk>/favourite/", registry.favourite, name="template-favourite"),
    path("templates/<int:pk>/send/", sending.send, name="template-send"),
    path("templates/<int:pk>/test/", template_testing.test, name="template-test"),
    path("phone/<int:pk>/", phone.phone, name="phone"),
    path("phone/<int:pk>/messages", phone.messages, name="phone-messages"),
    path("phone/<int:pk>/post", phone.post, name="phone-post"),
    # people: coming in
    path("login/", login.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    # people
    path("", start.start, name="start"),
    path("handover/<str:token>/", handover, name="handover"),
    path("i18n/setlang/", set_language, name="set_language"),
    path("admin/login/", login.AdminLogin.as_view()),
    path("admin/", admin.site.urls),
]
