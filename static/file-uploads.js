// Uploads of dropped, pasted or chosen files, one at a time, with progress. If the provider sends files, each becomes a
// chip until it is sent; otherwise its link is inserted into the text.
(() => {
  const byId = (id) => document.getElementById(id);
  const composer = () => byId("composer");
  const chips = () => [...(byId("uploads")?.querySelectorAll("[data-upload]") || [])];
  const ids = () => chips().map((chip) => chip.dataset.upload);
  const isUploading = () => Boolean(byId("uploads")?.querySelector(".going:not(.failed)"));
  let queue = Promise.resolve();

  const names = () => chips().map((chip) => chip.querySelector("b").textContent);
  // Remove the chips of a message being sent; restore them if it is refused.
  const detachChips = () => chips().map((chip) => { chip.remove(); return chip; });
  const restoreChips = (removed) => { byId("uploads")?.prepend(...removed); };

  const addFiles = (files) => {
    for (const file of files) {
      const chip = byId("upload-going").content.firstElementChild.cloneNode(true);
      chip.querySelector("b").textContent = file.name;
      byId("uploads").append(chip);
      const form = composer();
      queue = queue.then(() => (chip.isConnected && form === composer() ? post(file, chip, form) : null));
    }
  };

  const post = (file, chip, form, { isRepeated = false } = {}) =>
    new Promise((resolve) => {
      const call = new XMLHttpRequest(), body = new FormData();
      body.set("file", file);
      body.set("csrfmiddlewaretoken", okno.token());
      body.set("for_chat", form.elements.for_chat.value);
      body.set("for_user", okno.user);
      call.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) chip.querySelector("progress").value = (100 * event.loaded) / event.total;
      });
      call.addEventListener("loadend", async () => {
        if (call.status === 403 && !isRepeated && (await okno.renewToken())) await post(file, chip, form, { isRepeated: true });
        else finish(call, chip, form);
        resolve();
      });
      chip.querySelector("[data-cancel-upload]").addEventListener("click", () => { call.abort(); chip.remove(); });
      call.open("POST", form.dataset.upload);
      call.setRequestHeader("HX-Request", "true");
      call.responseType = "json";
      call.send(body);
    });

  const finish = (call, chip, form) => {
    const answer = call.response || {};
    if (call.status === 409) okno.handleConflict(JSON.stringify(answer));
    if (!chip.isConnected || form !== composer()) return;
    if (call.status === 201 && answer.chip) {
      const holder = document.createElement("template");
      holder.innerHTML = answer.chip;
      chip.replaceWith(holder.content);
    } else if (call.status === 201) {
      chip.remove();
      insertLink(answer.text);
    } else {
      chip.classList.add("failed");
      chip.querySelector(".upload-error").textContent = answer.sentence || form.dataset.failed;
    }
  };

  const insertLink = (line) => {
    byId("text").selectionStart = byId("text").selectionEnd; // do not replace selected text
    okno.insert(line, { separator: "\n" });
  };

  document.addEventListener("change", (event) => {
    if (!event.target.matches?.('#composer input[type="file"]')) return;
    addFiles(event.target.files);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = event.target.id === "text" ? event.clipboardData?.files : null;
    if (!files?.length) return;
    event.preventDefault();
    addFiles(files);
  });

  // --- drag and drop on the whole chat -------------------------------------------------------------
  const carriesFiles = (event) => composer() && event.dataTransfer?.types.includes("Files");
  const showDropHint = (isShown) => { if (byId("drop-here")) byId("drop-here").hidden = !isShown; };
  let dragTimer;
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    showDropHint(true);
    clearTimeout(dragTimer);
    dragTimer = setTimeout(() => showDropHint(false), 400); // leaving the window fires no event
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    showDropHint(false);
    addFiles(event.dataTransfer.files);
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#uploads [data-drop]");
    if (button) {
      event.preventDefault();
      okno.postAsUser(button.getAttribute("formaction"), {}).catch(() => {});
      button.closest("li").remove();
    } else if (event.target.closest?.(".failed [data-cancel-upload]")) event.target.closest("li").remove();
  });

  window.okno = Object.assign(window.okno || {}, { files: { ids, names, isUploading, detachChips, restoreChips } });
})();
