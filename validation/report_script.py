"""The report's one script: it shows frames that are there, and says what is shown. It computes nothing."""

SCRIPT = """
document.documentElement.classList.add("js");
for (const range of document.querySelectorAll(".panel input[type=range]")) {
  const panel = range.closest(".panel"), says = panel.querySelector("output");
  const show = () => {
    for (const frames of panel.querySelectorAll(".frames"))
      [...frames.children].forEach((frame, index) => { frame.hidden = index !== range.valueAsNumber; });
    const label = panel.querySelector(".frames > :not([hidden])").getAttribute("aria-label");
    range.setAttribute("aria-valuetext", label);
    return label;
  };
  range.addEventListener("input", () => { says.textContent = show(); });
  show();
}
document.addEventListener("toggle", ({ target }) => {
  const verdict = target.matches("details.wrong") && target.open && target.querySelector(".verdict");
  if (verdict) target.closest("article").querySelector(".checks output").textContent = verdict.textContent;
}, true);
for (const box of document.querySelectorAll("input[role=switch]"))
  box.addEventListener("change", () => {
    for (const wrong of box.closest(".checks").querySelectorAll("details.wrong")) wrong.open = box.checked;
  });
"""
