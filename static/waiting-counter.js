// Number of chats that need a reply, on the rail and in the title, live on every page. While the operator looks
// elsewhere, the title says what is new instead.
(() => {
  if (!document.getElementById("app")?.dataset.updatesUrl) return;
  const byId = (id) => document.getElementById(id);
  let version = "", unseen = ""; // words for what is new since the operator last looked

  const show = () => {
    const number = Number(byId("list")?.dataset.waiting ?? byId("app").dataset.waiting ?? 0), count = byId("rail-count");
    const words = number > 99 ? "99+" : String(number);
    if (count) {
      count.textContent = words;
      count.hidden = !number;
    }
    document.title = document.title.replace(/^\([^)]*\) /, "");
    if (unseen || number) document.title = `(${unseen || words}) ${document.title}`;
  };

  // A page with the chat list gets the number with the list.
  okno.pollParameters.push(() => (byId("list") ? {} : { counters: version }));
  addEventListener("okno:updates", ({ detail: { counters } }) => {
    if (!counters) return;
    version = counters.version;
    byId("app").dataset.waiting = counters.waiting;
    if (byId("list")) byId("list").dataset.waiting = counters.waiting;
    show();
  });
  addEventListener("okno:unseen", ({ detail }) => { unseen = detail; show(); });
  addEventListener("okno:chat-opened", show);
  document.addEventListener("htmx:afterSwap", show);
  show();
})();
