// Menu of people while "@" is typed in a note. Only people who may see the chat are offered.
(() => {
  const byId = (id) => document.getElementById(id);
  if (!byId("desk")) return;
  const MAX_SHOWN = 8;
  const TYPED = /(^|[^\p{L}\p{N}_])@([\p{L}\p{N}_.-]*(?: [\p{L}\p{N}_.-]*)?)$/u; // the name may have two words
  const people = new Map(); // chat → promise of its people
  let field = null, active = 0, found = [];

  const load = (chat) => {
    if (!people.has(chat)) {
      const request = fetch(byId("note-form").dataset.people, { headers: { "HX-Request": "true" } })
        .then((answer) => { if (!answer.ok || answer.redirected) throw new Error(String(answer.status)); return answer.json(); })
        .then((answer) => answer.people);
      people.set(chat, request);
      request.catch(() => people.delete(chat)); // the next "@" tries again
    }
    return people.get(chat);
  };

  const menu = () => {
    let list = byId("mention-menu");
    if (!list) {
      list = document.createElement("ul");
      list.id = "mention-menu";
      list.className = "mention-menu";
      list.setAttribute("role", "listbox");
      list.hidden = true;
      list.addEventListener("pointerdown", (event) => {
        const option = event.target.closest("[role=option]");
        event.preventDefault(); // the field keeps the focus
        if (option) choose(found[Number(option.dataset.index)]);
      });
    }
    return list;
  };
  const close = () => {
    menu().hidden = true;
    field?.removeAttribute("aria-activedescendant");
  };
  const isOpen = () => field && !menu().hidden;

  const typed = () => field.value.slice(0, field.selectionStart).match(TYPED)?.[2];
  const matches = (person, words) => {
    const text = words.toLocaleLowerCase();
    return person.name.toLocaleLowerCase().split(/\s+/).some((part) => part.startsWith(text))
      || person.name.toLocaleLowerCase().startsWith(text) || person.user.toLocaleLowerCase().startsWith(text);
  };

  const draw = () => {
    const list = menu();
    if (list.previousElementSibling !== field) field.after(list);
    list.replaceChildren(...found.map((person, index) => {
      const option = document.createElement("li");
      option.id = `mention-${index}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", String(index === active));
      option.dataset.index = index;
      option.textContent = person.name;
      return option;
    }));
    list.hidden = false;
    list.setAttribute("aria-label", byId("desk").dataset.mentionTitle || "@");
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-controls", list.id);
    field.setAttribute("aria-activedescendant", `mention-${active}`);
    list.children[active]?.scrollIntoView({ block: "nearest" });
  };

  const update = async () => {
    const own = field, words = typed();
    if (words === undefined) { close(); return; }
    let all;
    try { all = await load(byId("chat").dataset.chat); } catch { close(); return; }
    if (own !== field || typed() !== words) return;
    found = all.filter((person) => matches(person, words)).slice(0, MAX_SHOWN);
    // A complete name followed by a space is finished.
    if (!found.length || (words.endsWith(" ") && all.some((person) => person.name.toLocaleLowerCase() === words.trim().toLocaleLowerCase()))) { close(); return; }
    active = 0;
    draw();
  };

  const choose = (person) => {
    if (!person) return;
    const end = field.selectionStart, start = end - typed().length - 1;
    field.setRangeText(`@${person.name} `, start, end, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
    close();
  };

  document.addEventListener("input", (event) => {
    if (!event.target.matches?.("[data-mentions]")) return;
    field = event.target;
    update();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target !== field || !isOpen() || event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      active = (active + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length;
      draw();
    } else if ((event.key === "Enter" && !event.ctrlKey && !event.metaKey) || event.key === "Tab") {
      event.preventDefault();
      event.stopImmediatePropagation();
      choose(found[active]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopImmediatePropagation();
      close();
    }
  }, true);
  document.addEventListener("focusout", (event) => { if (event.target === field) close(); });
})();
