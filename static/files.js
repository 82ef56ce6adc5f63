// File uploads: dropped, pasted or chosen; one at a time, with progress. If the provider sends files, they are chips until
// sent; otherwise the file's link is inserted into the text.
(() => {
  const byId = (id) => document.getElementById(id);
  const composer = () => byId("composer");
  const chips = () => [...(byId("uploads")?.querySelectorAll("[data-upload]") || [])];
  const ids = () => chips().map((chip) => chip.dataset.upload);
  const going = () => Boolean(byId("uploads")?.querySelector(".going:not(.failed)"));
  let line = Promise.resolve();

  const names = () => chips().map((chip) => chip.querySelector("b").textContent);
  // Remove the chips of a message being sent; restore them if it is refused.
  const takeAway = () => chips().map((chip) => { chip.remove(); return chip; });
  const give = (back) => { byId("uploads")?.prepend(...back); };

  const take = (files) => {
    for (const file of files) {
      const chip = byId("upload-going").content.firstElementChild.cloneNode(true);
      chip.querySelector("b").textContent = file.name;
      byId("uploads").append(chip);
      const form = composer();
      line = line.then(() => (chip.isConnected && form === composer() ? post(file, chip, form) : null));
    }
  };

  const post = (file, chip, form, { isRepeated = false } = {}) =>
    new Promise((done) => {
      const call = new XMLHttpRequest(), body = new FormData();
      body.set("file", file);
      body.set("csrfmiddlewaretoken", okno.token());
      body.set("for_chat", form.elements.for_chat.value);
      body.set("for_user", okno.user);
      call.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) chip.querySelector("progress").value = (100 * event.loaded) / event.total;
      });
      call.addEventListener("loadend", async () => {
        if (call.status === 403 && !isRepeated && (await okno.renew())) await post(file, chip, form, { isRepeated: true });
        else finish(call, chip, form);
        done();
      });
      chip.querySelector("[data-give-up]").addEventListener("click", () => { call.abort(); chip.remove(); });
      call.open("POST", form.dataset.upload);
      call.setRequestHeader("HX-Request", "true");
      call.responseType = "json";
      call.send(body);
    });

  const finish = (call, chip, form) => {
    const answer = call.response || {};
    if (call.status === 409) okno.conflict(JSON.stringify(answer));
    if (!chip.isConnected || form !== composer()) return;
    if (call.status === 201 && answer.chip) {
      const holder = document.createElement("template");
      holder.innerHTML = answer.chip;
      chip.replaceWith(holder.content);
    } else if (call.status === 201) {
      chip.remove();
      intoText(answer.text);
    } else {
      chip.classList.add("failed");
      chip.querySelector(".why-not").textContent = answer.sentence || form.dataset.failed;
    }
  };

  const intoText = (words) => {
    byId("text").selectionStart = byId("text").selectionEnd; // do not replace selected text
    okno.insert(words, { apart: "\n" });
  };

  document.addEventListener("change", (event) => {
    if (!event.target.matches?.('#composer input[type="file"]')) return;
    take(event.target.files);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = event.target.id === "text" ? event.clipboardData?.files : null;
    if (!files?.length) return;
    event.preventDefault();
    take(files);
  });

  // --- dropping: the whole chat is the target -------------------------------------------------------------
  const carriesFiles = (event) => composer() && event.dataTransfer?.types.includes("Files");
  const offer = (is) => { if (byId("drop-here")) byId("drop-here").hidden = !is; };
  let over;
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    offer(true);
    clearTimeout(over);
    over = setTimeout(() => offer(false), 400); // leaving the window fires no event
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    offer(false);
    take(event.dataTransfer.files);
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#uploads [data-drop]");
    if (button) {
      event.preventDefault();
      okno.tell(button.getAttribute("formaction"), {}).catch(() => {});
      button.closest("li").remove();
    } else if (event.target.closest?.(".failed [data-give-up]")) event.target.closest("li").remove();
  });

  window.okno = Object.assign(window.okno || {}, { files: { ids, names, going, take: takeAway, give } });
})();
