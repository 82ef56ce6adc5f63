// The refusal above the composer. It is shown until something that it depends on has changed: `data-until` names the events
// (bridge/desk/refusals.py lists them for each reason).
(() => {
  const OF_ACTIONS = "text action"; // until of an action that failed, for which the server names nothing
  const place = () => document.getElementById("refusal");

  const show = (sentence, until = OF_ACTIONS) => {
    if (!place()) return;
    place().querySelector("span").textContent = sentence;
    place().hidden = !sentence;
    place().dataset.until = until;
    // A notice of the chat that says the same is not shown twice.
    for (const notice of document.querySelectorAll("#composer_notices > .notice:not([data-when-closed])")) {
      notice.hidden = Boolean(sentence) && notice.textContent.trim() === sentence.trim();
    }
  };
  const clear = () => show("");
  // Something has changed: "text", "files", "quote", "template", "window", "consent" or "action".
  const end = (event) => {
    if (place() && !place().hidden && place().dataset.until.split(" ").includes(event)) clear();
  };

  document.addEventListener("input", (event) => { if (event.target.id === "text") end("text"); });
  document.addEventListener("click", (event) => { if (event.target.closest?.("#uploads button")) end("files"); });
  // While a note is written, or the client pane of a phone is open, the place above the composer is not in view.
  const isInView = () => {
    const box = place()?.getClientRects()[0];
    return Boolean(box) && place().contains(document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2));
  };
  addEventListener("okno:action-refused", ({ detail: { sentence, until } }) => {
    show(sentence, until);
    if (sentence && !isInView()) okno.notifications?.showSentence("refused", sentence);
  });
  addEventListener("okno:action-done", () => {
    end("action");
    document.getElementById("toast-refused")?.remove();
  });

  window.okno = Object.assign(window.okno || {}, { refusals: { show, clear, end } });
})();
