// Suggestions for a new tag of a client, and for filters by tag: loaded when the form or menu is opened.
(() => {
  document.addEventListener("toggle", async (event) => {
    const details = event.target;
    if (!details.matches?.("[data-suggests][open]")) return;
    const list = details.querySelector("datalist");
    if (list.childElementCount) return;
    try {
      const answer = await fetch(details.dataset.suggests, { headers: { "HX-Request": "true" } });
      if (!answer.ok || answer.redirected) return;
      const { tags } = await answer.json();
      list.replaceChildren(...tags.map((tag) => Object.assign(document.createElement("option"), { value: tag })));
    } catch { /* a tag can be typed without suggestions */ }
  }, true);
})();
