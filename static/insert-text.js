// Insert text into the composer, separated from the text around it. Ctrl+Z undoes it.
(() => {
  const box = () => document.getElementById("text");

  // `separator` stands between the text and their neighbors. `atEnd`: not where the caret is, but after everything.
  const insert = (text, { separator = " ", atEnd = false } = {}) => {
    const field = box();
    field.focus();
    if (atEnd) field.setSelectionRange(field.value.length, field.value.length);
    const before = field.value.slice(0, field.selectionStart), after = field.value.slice(field.selectionEnd);
    const lead = before && !before.match(separator === "\n" ? /\n$/ : /\s$/) ? separator : "";
    const trail = after && !after.match(separator === "\n" ? /^\n/ : /^\s/) ? separator : "";
    const padded = lead + text + trail;
    // The only way in which a browser can undo it, though an old one. It fires `input` by itself.
    if (document.activeElement === field && document.execCommand("insertText", false, padded)) return;
    field.setRangeText(padded, field.selectionStart, field.selectionEnd, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

  window.okno = Object.assign(window.okno || {}, { insert });
})();
