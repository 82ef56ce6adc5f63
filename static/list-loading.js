// Loading of the chat list for a search, filter, tab or saved view: a busy mark, and what happens without an answer. The
// list stays as it was, and is asked for again once when the connection is back.
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const byId = (id) => document.getElementById(id);
  let failed = null; // the last request without an answer: {source, address, isRepeated}
  let isRepeating = false;

  // The list is the target of each of these requests.
  const isList = ({ target, requestConfig }) => target?.id === "list" && requestConfig.verb === "get";
  const load = (address) => window.htmx.ajax("GET", address, { target: "#list", swap: "outerHTML" });
  const hideProblem = () => {
    failed = null;
    document.querySelector(".list-problem")?.remove();
  };
  const repeat = () => {
    const { source, address } = failed;
    isRepeating = true;
    hideProblem();
    // A form sends what it contains by now.
    if (source.isConnected && source.matches("form")) window.htmx.trigger(source, "submit");
    else load(address);
  };

  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (!isList(detail)) return;
    hideProblem();
    byId("list").setAttribute("aria-busy", "true");
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => { if (isList(detail)) byId("list").removeAttribute("aria-busy"); });
  // An aborted request is none of these: a later search has replaced it.
  const onFailure = ({ detail }) => {
    if (!isList(detail)) return;
    hideProblem();
    failed = { source: detail.elt, address: detail.pathInfo.finalRequestPath, isRepeated: isRepeating };
    isRepeating = false;
    byId("rows").before(byId("list-problem").content.cloneNode(true));
  };
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) document.addEventListener(name, onFailure);
  document.addEventListener("htmx:afterSwap", ({ detail }) => { if (isList(detail)) [failed, isRepeating] = [null, false]; });
  // A response without a list is the sign-in page.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!isList(event.detail) || !event.detail.shouldSwap || event.detail.serverResponse.includes('id="list"')) return;
    event.detail.shouldSwap = false;
    dispatchEvent(new Event("okno:signed-out"));
  });
  addEventListener("okno:connected", () => { if (failed && !failed.isRepeated) repeat(); });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-repeat-list]") && failed) repeat();
  });

  window.okno = Object.assign(window.okno || {}, { listLoading: { load } });
})();
