"""Template loader that joins the parts of a template that depend on the language only.

A page of the desk has hundreds of translated labels, icons and addresses of static files. Consecutive ones become one
node, which is rendered once per language and process.
"""

from __future__ import annotations

from typing import Any

from django.core.signals import setting_changed
from django.template import Context, Template
from django.template.base import FilterExpression, Node, NodeList, TextNode, Variable
from django.template.defaulttags import CommentNode, IfNode, LoadNode, URLNode
from django.template.library import SimpleNode
from django.template.loaders.base import Loader as BaseLoader
from django.template.loaders.cached import Loader as CachedLoader
from django.templatetags.i18n import TranslateNode
from django.templatetags.static import StaticNode
from django.utils.safestring import SafeString
from django.utils.translation import get_language

CONSTANT_TAG = "is_constant_tag"  # attribute of simple tags whose result depends on their arguments and the language


class JoiningLoader(BaseLoader):
    """Loader that joins the constants of a template before any thread can render it."""

    def get_template(self, template_name: str, skip: Any = None) -> Template:
        template: Template = super().get_template(template_name, skip)
        join_constants(template.nodelist)
        return template


class Loader(CachedLoader, JoiningLoader):
    """Django's cached loader for templates with joined constants."""


class ConstantNode(Node):
    """Consecutive constant nodes."""

    child_nodelists = ()

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.html: dict[str | None, SafeString] = {}
        self.token, self.origin = nodes[0].token, nodes[0].origin
        _constant_nodes.append(self)

    def render_annotated(self, context: Context) -> SafeString:
        return self.render(context)

    def render(self, context: Context) -> SafeString:
        language = get_language()
        if language not in self.html:
            self.html[language] = SafeString("".join(str(node.render_annotated(context)) for node in self.nodes))
        return self.html[language]


_constant_nodes: list[ConstantNode] = []


def _forget(**_signal: Any) -> None:
    for node in _constant_nodes:
        node.html.clear()


setting_changed.connect(_forget, dispatch_uid="constant_nodes")  # tests change settings


def join_constants(nodes: NodeList) -> None:
    """Join the constant nodes of a list and of those inside it, in place."""
    joined: list[Node] = []
    run: list[Node] = []

    def end_run() -> None:
        is_plain = len(run) == 1 and isinstance(run[0], TextNode)
        joined.extend(run if is_plain or not run else [ConstantNode(list(run))])
        run.clear()

    for node in nodes:
        if is_constant(node):
            run.append(node)
            continue
        end_run()
        joined.append(node)
        for inner in _list_inner(node):
            join_constants(inner)
    end_run()
    nodes[:] = joined


def _list_inner(node: Node) -> list[NodeList]:
    if isinstance(node, IfNode):
        return [nodes for _condition, nodes in node.conditions_nodelists]
    found = (getattr(node, name, None) for name in node.child_nodelists)
    return [nodes for nodes in found if isinstance(nodes, NodeList)]


def is_constant(node: Node) -> bool:
    """Return whether the node's output depends on the language only."""
    if isinstance(node, TextNode | CommentNode | LoadNode):
        return True
    if isinstance(node, TranslateNode):
        context = node.message_context
        return not node.asvar and _is_literal(node.filter_expression) and (context is None or _is_literal(context))
    if isinstance(node, StaticNode):
        return node.varname is None and _is_literal(node.path)
    if isinstance(node, URLNode):  # a name with a colon depends on the request's current app
        is_simple = not node.args and not node.kwargs and node.asvar is None and _is_literal(node.view_name)
        return is_simple and ":" not in str(node.view_name.token)
    if isinstance(node, SimpleNode):
        is_marked = getattr(node.func, CONSTANT_TAG, False) and node.target_var is None
        return is_marked and all(map(_is_literal, [*node.args, *node.kwargs.values()]))
    return False


def _is_literal(expression: FilterExpression) -> bool:
    """Return whether a template expression is a string in quotes without filters."""
    if expression.filters:
        return False
    var = expression.var
    return isinstance(var, str) or (isinstance(var, Variable) and isinstance(var.literal, str))
