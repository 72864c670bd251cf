// Copying is all that needs a script; without one, the text can be selected.
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copies);
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      getSelection().selectAllChildren(text);
      done = "Selected: press Ctrl-C";
    }
    button.textContent = done;
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  });
}
