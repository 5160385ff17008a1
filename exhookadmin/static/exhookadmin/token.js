"use strict";

// A reload must not send the form again: from here on this page goes by the device’s address.
const page = document.querySelector("[data-token-page]");
history.replaceState(null, "", page.dataset.afterReload);

async function copy(text) {
  // The clipboard API is missing on plain HTTP, except on localhost.
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text);
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) {
    throw new Error("the browser refused to copy");
  }
}

for (const button of page.querySelectorAll("[data-copy]")) {
  const words = button.textContent.trim();
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await copy(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = words; }, 3000);
  });
}
