// "Send to a chat" page: search as you type.
(() => {
  const form = document.getElementById("to-chat"), find = form.querySelector("[name=find]");
  const search = okno.latestOnly(async (isLast) => {
    const values = Object.fromEntries(new FormData(form));
    const answer = await okno.post(location.pathname, values);
    if (answer.ok && !answer.redirected && isLast()) document.getElementById("chat-picks").innerHTML = await answer.text();
  });
  find.addEventListener("input", () => search.schedule(250));
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); search.now(); }
  });
})();
