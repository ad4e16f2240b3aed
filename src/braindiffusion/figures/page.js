// What Plotly leaves to the page. `{plot_id}` is replaced by Plotly.
const plot = document.getElementById("{plot_id}");

// Plotly rejects an animation that another one interrupts, without a reason: that is no error.
window.addEventListener("unhandledrejection", event => { if (event.reason === undefined) event.preventDefault(); });

// Scenes that stand side by side turn together.
const scenes = Object.keys(plot._fullLayout).filter(name => /^scene\d*$/.test(name));
let turning = false;
plot.on("plotly_relayout", change => {
  const moved = scenes.find(scene => change[scene + ".camera"]);
  if (!moved || turning || scenes.length < 2) return;
  turning = true;
  const camera = change[moved + ".camera"];
  const others = scenes.filter(scene => scene !== moved);
  Plotly.relayout(plot, Object.fromEntries(others.map(scene => [scene + ".camera", camera])))
    .then(() => { turning = false; });
});

// A heatmap of labels says what each of its values is called in `meta.names`: the name follows the pointer.
const tip = document.createElement("div");
tip.id = "tip";
tip.style = "position: fixed; display: none; padding: 4px 8px; border-radius: 4px; pointer-events: none; " +
  "background: #333; color: #eee; font: 13px sans-serif; white-space: pre";
document.body.appendChild(tip);
plot.on("plotly_hover", ({points, event}) => {
  const named = points.find(point => point.data.meta && point.data.meta.names);
  const name = named && named.data.meta.names[named.z];
  tip.style.display = name ? "block" : "none";
  if (!name) return;
  tip.textContent = name;
  tip.style.left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 4) + "px";
  tip.style.top = event.clientY + 14 + "px";
});
plot.on("plotly_unhover", () => { tip.style.display = "none"; });
