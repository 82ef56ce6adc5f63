// "Olga answered meanwhile": the newest reply that the operator had seen when they began to type, or opened a template,
// goes with the reply. The server stops a reply, template or macro that crosses a colleague's; here the operator decides.
(() => {
  const byId = (id) => document.getElementById(id);
  if (!byId("desk")) return;
  const STOPPED = { reply: "stoppedReply", template: "stoppedTemplate", macro: "stoppedMacro" };
  let seen = null, question = null; // question: {message, proceed} of what was stopped

  // The newest reply on the page. Without one, the oldest message: replies before it are not new.
  const listIds = (selector) => [...document.querySelectorAll(`#messages ${selector}[id^="m"]`)].map((node) => Number(node.id.slice(1)));
  const newestShown = () => {
    const replies = listIds(".msg.out"), messages = listIds(".msg");
    return Math.max(0, ...(replies.length || !messages.length ? replies : [Math.min(...messages)]));
  };
  const fields = () => (byId("meanwhile") ? { seen: seen ?? newestShown() } : {});

  const place = () => byId("meanwhile");
  const hide = () => {
    question = null;
    if (place()) place().hidden = true;
  };
  const forget = () => { seen = null; };
  const notice = () => { seen ??= newestShown(); };

  document.addEventListener("input", (event) => {
    if (event.target.id === "text" && event.target.value.trim()) notice();
  });
  addEventListener("okno:draft-cleared", forget);
  addEventListener("okno:template-shown", notice);
  addEventListener("okno:template-closed", () => { if (!byId("text")?.value.trim() && !question) forget(); });
  addEventListener("okno:chat-opened", () => {
    hide();
    seen = byId("text")?.value.trim() ? newestShown() : null;
  });

  // Show the colleague's words. `kind`: reply, template or macro. `proceed` does what was stopped.
  const ask = (result, kind, proceed, { focuses = true } = {}) => {
    question = { message: result.message, proceed };
    const [title, words, stopped] = ["b", "blockquote", "p"].map((name) => place().querySelector(name));
    title.textContent = result.title;
    words.textContent = result.words;
    stopped.textContent = place().dataset[STOPPED[kind]];
    place().querySelector("[data-proceed]").textContent = place().dataset[kind === "macro" ? "runAnyway" : "sendAnyway"];
    place().querySelector("[data-keep]").textContent = place().dataset[kind === "reply" ? "keepDraft" : "cancel"];
    place().hidden = false;
    if (focuses) place().querySelector("[data-proceed]").focus();
  };

  // A template that was stopped is shown again with its values, which the operator may have edited. No other is sent.
  const sendTemplate = async ({ chat, address }, { shown, showAgain }) => {
    const isHere = () => chat === byId("chat").dataset.chat;
    const button = () => document.querySelector(`#template_panel [data-go][formaction="${CSS.escape(address)}"]`);
    await shown;
    if (isHere() && !button()) await showAgain();
    if (!isHere()) okno.chatOpening.showError("notSentInChat", okno.chatOpening.clientName(chat));
    else if (button()) button().click();
    else dispatchEvent(new CustomEvent("okno:action-refused", { detail: { sentence: byId("composer").dataset.failed } }));
  };

  addEventListener("okno:refused", ({ detail: { record, result } }) => {
    if (result.reason !== "answered_meanwhile") return;
    if (record.chat !== byId("chat").dataset.chat) {
      okno.chatOpening.showError("notSentInChat", okno.chatOpening.clientName(record.chat));
      return;
    }
    const valueOf = (name) => record.values.find((one) => one[0] === name)?.[1];
    const isTemplate = ["picked", "hold"].includes(valueOf("kind"));
    seen = Number(valueOf("seen") ?? 0);
    // An operator who goes on typing would press the button by a space.
    const focuses = byId("text").value === (record.box ?? byId("text").value) && document.activeElement !== byId("note-text");
    ask(result, isTemplate ? "template" : "reply", isTemplate ? () => sendTemplate(record, result) : () => byId("composer").requestSubmit(), { focuses });
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#meanwhile button");
    if (!button || !question) return;
    const { message, proceed } = question;
    seen = message; // read
    hide();
    if ("proceed" in button.dataset) proceed();
    else byId("text").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && question && event.target.closest?.("#meanwhile")) place().querySelector("[data-keep]").click();
  });

  window.okno = Object.assign(window.okno || {}, { colleagueReplies: { fields, ask } });
})();
