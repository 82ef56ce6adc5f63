// Says why a passkey was not used. Either the browser offers no passkeys at this address (http, or an IP address), or the
// person canceled the browser's dialog, or there is no passkey for this portal.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const isUnsupported = !window.PublicKeyCredential || event.detail.exception?.name === "SecurityError";
  document.getElementById("passkey-unsupported").hidden = !isUnsupported;
  document.getElementById("passkey-error").hidden = isUnsupported;
});
