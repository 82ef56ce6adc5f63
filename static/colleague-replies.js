// "Olga answered meanwhile": the newest reply that the operator had seen when they began to type goes with the reply. The
// server stops a reply that crosses a colleague's; here the operator reads it and decides.
(() => {
  const byId = (id) => document.getElementById(id);
  if (!byId("desk")) return;
  let seen = null, question = null; // question: the record that was stopped, and the server's answer

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

  document.addEventListener("input", (event) => {
    if (event.target.id === "text" && seen === null && event.target.value.trim()) seen = newestShown();
  });
  addEventListener("okno:draft-cleared", forget);
  addEventListener("okno:chat-opened", () => {
    hide();
    seen = byId("text")?.value.trim() ? newestShown() : null;
  });

  addEventListener("okno:refused", ({ detail: { record, result } }) => {
    if (result.reason !== "answered_meanwhile") return;
    if (record.chat !== byId("chat").dataset.chat) {
      okno.chatOpening.showError("notSentInChat", okno.chatOpening.clientName(record.chat));
      return;
    }
    question = result;
    seen = Number(record.values.find(([name]) => name === "seen")?.[1] ?? 0);
    place().querySelector("b").textContent = result.title;
    place().querySelector("blockquote").textContent = result.words;
    place().hidden = false;
    // An operator who goes on typing would press "Send anyway" by a space.
    if (byId("text").value === record.box) place().querySelector("[data-send-anyway]").focus();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#meanwhile button");
    if (!button || !question) return;
    seen = question.message; // read
    hide();
    if ("sendAnyway" in button.dataset) byId("composer").requestSubmit();
    else byId("text").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && question && event.target.closest?.("#meanwhile")) place().querySelector("[data-keep-draft]").click();
  });

  window.okno = Object.assign(window.okno || {}, { colleagueReplies: { fields } });
})();
