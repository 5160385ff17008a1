"use strict";

// The search fields that select2 makes have no label of their own: they get the one of their list.
window.addEventListener("load", () => {
  for (const search of document.querySelectorAll(".select2-search__field:not([aria-label])")) {
    const list = search.closest(".select2")?.previousElementSibling;
    const label = list?.id && document.querySelector(`label[for="${CSS.escape(list.id)}"]`);
    search.setAttribute("aria-label", label ? label.textContent.trim() : "Search");
  }
});
