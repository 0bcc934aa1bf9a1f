// Makes the pages smoother; without it every form and link works.
"use strict";
document.documentElement.classList.add("js");
const focusError = () => {
  const box = document.querySelector("[data-focus]");
  if (box) box.focus();
};
document.addEventListener("DOMContentLoaded", focusError);
