// Albums: pictures that one person sends within a minute are shown as a grid. Each stays a message of its own, with its
// status, time, quote target and place in the thread; only its look changes.
(() => {
  const WITHIN = 60_000; // milliseconds between two pictures of one album
  const VISIBLE = 4; // tiles of a folded album
  const opened = new Set(); // keys of the first messages of unfolded albums
  let observed = null;

  // A message that is only a picture, without text, quote or failure.
  const isTile = (node) => {
    const bubble = node.dataset?.side && !node.hidden ? node.querySelector(":scope > .bubble") : null;
    if (!bubble || bubble.matches(".failed, .unknown") || node.matches(".found")) return false;
    if (bubble.querySelector(":scope > :is(.text, .tag, .quoted, .extra, .previous-versions)")) return false;
    if (node.querySelector(":scope > .trouble, :scope > .trail:not(:empty)")) return false;
    return Boolean(bubble.querySelector(":scope > .attached > .picture:only-child"));
  };
  const sender = (node) => `${node.dataset.side} ${node.querySelector(".bubble > .unseen")?.textContent}`;
  const moment = (node) => Date.parse(node.querySelector(".meta time")?.dateTime);

  const findAlbums = (messages) => {
    const albums = [];
    let album = [];
    const finish = () => { if (album.length > 1) albums.push(album); album = []; };
    for (const node of messages.children) {
      const last = album.at(-1);
      if (!isTile(node)) finish();
      else if (last && (sender(node) !== sender(last) || Math.abs(moment(node) - moment(last)) > WITHIN)) { finish(); album = [node]; }
      else album.push(node);
    }
    finish();
    return albums;
  };

  const draw = () => {
    const messages = document.getElementById("messages");
    if (!messages) return;
    const tiles = new Map();
    for (const album of findAlbums(messages)) {
      const isFolded = album.length > VISIBLE && !opened.has(album[0].dataset.key) && !album.some((node) => node.id === messages.dataset.at);
      album.forEach((node, index) => {
        const isLast = isFolded && index === VISIBLE - 1;
        const isAlone = index % 2 === 0 && index === (isFolded ? VISIBLE : album.length) - 1;
        tiles.set(node, {
          column: isAlone ? "alone" : index % 2 ? "second" : "first",
          hidden: isFolded && index >= VISIBLE, rest: isLast ? album.length - VISIBLE : 0, first: album[0].dataset.key,
        });
      });
    }
    for (const node of messages.children) set(node, tiles.get(node));
  };
  // Attributes change only if they differ, because these changes are observed, too.
  const set = (node, tile) => {
    const values = { album: tile?.column, albumRest: tile?.hidden ? "" : undefined, albumMore: tile?.rest ? `+${tile.rest}` : undefined, albumOf: tile?.first };
    for (const [name, value] of Object.entries(values)) {
      if (node.dataset[name] === value) continue;
      if (value === undefined) delete node.dataset[name];
      else node.dataset[name] = value;
    }
  };

  const watch = () => {
    const messages = document.getElementById("messages");
    if (observed !== messages) {
      observer.disconnect();
      observed = messages;
      if (messages) observer.observe(messages, { childList: true, subtree: true, attributes: true, attributeFilter: ["hidden"] });
    }
    draw();
  };
  // A player redraws itself several times a second. That changes no album.
  const observer = new MutationObserver((changes) => { if (changes.some(({ target }) => !target.closest("voice-player"))) draw(); });

  // A quote or search may lead to a folded picture, so its album opens before the thread scrolls to it.
  const open = (key) => {
    if (!key || opened.has(key)) return;
    opened.add(key);
    draw();
  };
  document.addEventListener("click", (event) => {
    const quoted = event.target.closest?.("[data-at]");
    if (quoted) open(document.getElementById(quoted.dataset.at)?.dataset.albumOf);
  }, true);
  addEventListener("okno:chat-opened", watch);
  new MutationObserver(() => { if (document.getElementById("messages") !== observed) watch(); }).observe(document.getElementById("desk"), { childList: true });
  watch();
})();
