// Reply with a quote: the quoted message is shown above the composer.
(() => {
  const MOST = 120; // characters of the quoted text
  const byId = (id) => document.getElementById(id);
  const strip = () => byId("replying");
  const field = () => strip()?.querySelector("input");

  const to = () => (field()?.value ? { replies_to: field().value } : {});
  const end = () => {
    if (!strip()) return;
    field().value = "";
    strip().hidden = true;
  };

  // Remove the quote while its reply is being sent. Returns a function that restores it.
  const take = () => {
    const was = strip(), value = field()?.value, quoted = was?.querySelector(".quoted").cloneNode(true);
    end();
    return () => {
      if (!value || strip() !== was || field().value) return;
      was.querySelector(".quoted").replaceWith(quoted);
      field().value = value;
      was.hidden = false;
    };
  };

  const begin = (link) => {
    const message = link.closest(".msg"), bubble = message.querySelector(".bubble");
    const who = bubble.querySelector(".unseen").textContent.replace(/:$/, "");
    const said = bubble.querySelector(".text") || bubble.querySelector(".attached .cut, .extra");
    const words = (said?.textContent || bubble.querySelector("img")?.alt || "").replace(/\s+/g, " ").trim();
    const quoted = strip().querySelector(".quoted");
    quoted.dataset.at = message.id;
    quoted.href = `?at=${link.dataset.reply}`;
    quoted.querySelector("b").textContent = who;
    quoted.querySelector("span").textContent = words.length > MOST ? `${words.slice(0, MOST - 1)}…` : words;
    field().value = link.dataset.reply;
    strip().hidden = false;
    byId("text").focus();
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-reply], [data-reply-to-none]");
    if (!link || event.ctrlKey || event.metaKey || !strip()) return;
    event.preventDefault();
    if ("reply" in link.dataset) begin(link);
    else { end(); byId("text").focus(); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.id === "text") end();
  });

  window.okno = Object.assign(window.okno || {}, { replying: { to, end, take } });
})();
