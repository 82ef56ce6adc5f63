// Reply with a quote: the quoted message is shown above the composer.
(() => {
  const MAX_LENGTH = 120; // characters of the quoted text
  const byId = (id) => document.getElementById(id);
  const strip = () => byId("replying");
  const field = () => strip()?.querySelector("input");

  const fields = () => (field()?.value ? { replies_to: field().value } : {});
  const clear = () => {
    if (!strip()) return;
    field().value = "";
    strip().hidden = true;
    okno.refusals.end("quote");
  };

  // Remove the quote while its reply is being sent. Returns a function that restores it.
  const detach = () => {
    const current = strip(), value = field()?.value, quoted = current?.querySelector(".quoted").cloneNode(true);
    clear();
    return () => {
      if (!value || strip() !== current || field().value) return;
      current.querySelector(".quoted").replaceWith(quoted);
      field().value = value;
      current.hidden = false;
    };
  };

  const quote = (link) => {
    const message = link.closest(".msg"), bubble = message.querySelector(".bubble");
    const who = bubble.querySelector(".unseen").textContent.replace(/:$/, "");
    const content = bubble.querySelector(".text") || bubble.querySelector(".attached .file .cut, .extra");
    const text = (content?.textContent || bubble.querySelector("[data-name]")?.dataset.name || "").replace(/\s+/g, " ").trim();
    const quoted = strip().querySelector(".quoted");
    quoted.dataset.at = message.id;
    quoted.href = `?at=${link.dataset.reply}`;
    quoted.querySelector("b").textContent = who;
    quoted.querySelector("span").textContent = text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH - 1)}…` : text;
    field().value = link.dataset.reply;
    strip().hidden = false;
    okno.refusals.end("quote");
    byId("text").focus();
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-reply], [data-reply-to-none]");
    if (!link || event.ctrlKey || event.metaKey || !strip()) return;
    event.preventDefault();
    if ("reply" in link.dataset) quote(link);
    else { clear(); byId("text").focus(); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.id === "text") clear();
  });

  window.okno = Object.assign(window.okno || {}, { quoting: { fields, detach } });
})();
