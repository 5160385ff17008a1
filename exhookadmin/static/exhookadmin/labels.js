"use strict";

// What other people's widgets leave unsaid to those who do not see them. They are made, and made anew, at any time.
{
  const labelOf = (list) => (list?.id && document.querySelector(`label[for="${CSS.escape(list.id)}"]`)) || null;

  const mend = () => {
    // The search fields that select2 makes have no label of their own: they get the one of their list.
    for (const search of document.querySelectorAll(".select2-search__field:not([aria-label])")) {
      const label = labelOf(search.closest(".select2")?.previousElementSibling);
      search.setAttribute("aria-label", label ? label.textContent.trim() : "Search");
    }
    // Nor has what shows a single choice, while there is none.
    for (const choice of document.querySelectorAll(".select2-selection--single:not([aria-label])")) {
      const label = labelOf(choice.closest(".select2")?.previousElementSibling)?.textContent.trim() || "Choice";
      const shown = choice.querySelector(".select2-selection__rendered");
      choice.setAttribute("aria-label", label);
      choice.removeAttribute("aria-labelledby");
      shown?.setAttribute("aria-label", label);
    }
    // A list in which there is a button is no list.
    for (const part of document.querySelectorAll(
      "ul.select2-selection__rendered:not([role]), ul.select2-selection__rendered > li:not([role])",
    )) {
      part.setAttribute("role", "presentation");
    }
    for (const hint of document.querySelectorAll(".help-tooltip[aria-label]:not([role])")) {
      hint.setAttribute("role", "img");
    }
  };

  window.addEventListener("load", () => {
    mend();
    new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  });
}
