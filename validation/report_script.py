"""The report's one script: it shows frames that are there, and says what is shown. It computes nothing."""

SCRIPT = """
document.documentElement.classList.add("scripted");
for (const range of document.querySelectorAll(".panel input[type=range]")) {
  const panel = range.closest(".panel"), output = panel.querySelector("output");
  const groups = [...panel.querySelectorAll(".frames")];
  const stored = groups.map((group) => group.querySelector("script").textContent);
  range.setAttribute("aria-valuetext", groups[0].firstElementChild.getAttribute("aria-label"));
  range.addEventListener("input", () => {
    groups.forEach((group, index) => {
      group.firstElementChild.outerHTML = JSON.parse(stored[index])[range.valueAsNumber];
    });
    const label = groups[0].firstElementChild.getAttribute("aria-label");
    range.setAttribute("aria-valuetext", label);
    output.textContent = label;
  });
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
