// Insert text into the composer, separated from the text around it. Ctrl+Z undoes it.
(() => {
  const box = () => document.getElementById("text");

  // `separator` is placed between the text and its surroundings. `atEnd`: append instead of inserting at the caret.
  const insert = (text, { separator = " ", atEnd = false } = {}) => {
    const field = box();
    field.focus();
    if (atEnd) field.setSelectionRange(field.value.length, field.value.length);
    const before = field.value.slice(0, field.selectionStart), after = field.value.slice(field.selectionEnd);
    const lead = before && !before.match(separator === "\n" ? /\n$/ : /\s$/) ? separator : "";
    const trail = after && !after.match(separator === "\n" ? /^\n/ : /^\s/) ? separator : "";
    const padded = lead + text + trail;
    // execCommand is deprecated, but nothing else supports Ctrl+Z. It fires `input` itself.
    if (document.activeElement === field && document.execCommand("insertText", false, padded)) return;
    field.setRangeText(padded, field.selectionStart, field.selectionEnd, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

  window.okno = Object.assign(window.okno || {}, { insert });
})();
