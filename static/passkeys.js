// Says that a passkey was not used: the person canceled the browser's dialog, or there is no passkey for this portal.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  document.getElementById("passkey-error").hidden = false;
});
