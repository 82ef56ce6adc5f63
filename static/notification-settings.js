// Desk settings: preview of the sound, permission and push messages of this browser, test notification.
(() => {
  const devices = document.getElementById("devices");
  if (!devices) return;
  const find = (selector) => document.querySelector(selector);
  const allow = find("[data-allow-notifications]"), stop = find("[data-stop-push]"), test = find("[data-test-notification]");
  const problem = document.getElementById("push-problem"), preview = find("[data-preview-sound]");

  // --- sound -----------------------------------------------------------------------------------------------------
  const sound = document.getElementById("id_notify-sound"), volume = document.getElementById("id_notify-volume");
  const play = () => {
    okno.sounds.unlock();
    setTimeout(() => okno.sounds.play(sound.value, Number(volume.value)), 60); // the browser needs a moment to unlock
  };
  preview.hidden = false;
  preview.addEventListener("click", play);
  sound.addEventListener("change", play);
  volume.addEventListener("change", play);

  // --- this browser ------------------------------------------------------------------------------------------------
  const canNotify = "Notification" in window && isSecureContext && Boolean(navigator.serviceWorker);
  const canPush = canNotify && "PushManager" in window && Boolean(devices.dataset.key);
  const getSubscription = async () => (canPush ? (await navigator.serviceWorker.getRegistration("/"))?.pushManager.getSubscription() : null);

  const showState = async () => {
    const subscription = await getSubscription();
    const permission = canNotify ? Notification.permission : "unsupported";
    const state = permission === "granted" && subscription ? "pushed" : permission;
    for (const text of devices.querySelectorAll("[data-permission]")) text.hidden = text.dataset.permission !== state;
    allow.hidden = !(state === "default" || (state === "granted" && canPush));
    stop.hidden = state !== "pushed";
    test.hidden = permission !== "granted";
  };
  const showProblem = (sentence) => {
    problem.textContent = sentence || problem.dataset.failed;
    problem.hidden = false;
  };
  const toBytes = (text) => {
    const base64 = text.replaceAll("-", "+").replaceAll("_", "/");
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  };

  allow.addEventListener("click", async () => {
    problem.hidden = true;
    if ((await Notification.requestPermission()) === "granted" && canPush) {
      try {
        const registration = await navigator.serviceWorker.ready;
        await (await registration.pushManager.getSubscription())?.unsubscribe(); // of another key or user
        const options = { userVisibleOnly: true, applicationServerKey: toBytes(devices.dataset.key) };
        const subscription = await registration.pushManager.subscribe(options);
        const answer = await okno.notifications.postSubscription(subscription);
        if (!answer.ok) {
          await subscription.unsubscribe();
          showProblem((await answer.json().catch(() => ({}))).sentence);
        }
      } catch {
        showProblem();
      }
    }
    await showState();
    (stop.hidden ? test : stop).focus();
  });
  stop.addEventListener("click", async () => {
    const subscription = await getSubscription();
    if (subscription) {
      await okno.postAsUser(devices.dataset.unsubscribeUrl, { endpoint: subscription.endpoint });
      await subscription.unsubscribe();
    }
    okno.notifications.forgetSubscription();
    await showState();
    test.focus();
  });
  test.addEventListener("click", async () => {
    const subscription = await getSubscription();
    if (subscription) await okno.postAsUser(devices.dataset.testUrl, {});
    else await okno.notifications.showNotices([{ key: `test-${Date.now()}`, tag: "okno-test", title: "Okno", text: test.textContent, url: location.pathname }], { isSilent: false });
  });
  showState();
})();
