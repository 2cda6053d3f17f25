// Videos with their mask. Only those on the screen are loaded, and played; the mask is a picture of all its latent frames,
// one below the other, of which the one that stands for the frame on show is moved into sight.

const watching = { playing: !calm, masked: true };
const onScreen = new Set();
const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) (isIntersecting ? enter : leave)(target);
  },
  { rootMargin: "120px" },
);

function film(name, label, options = {}) {
  const { height, width } = options.own ? {} : run.film;
  const failed = run.failed[name];
  const box = el("div.film");
  if (!name || failed) {
    box.append(el("p.none", failed ? words(failed) : "No video in this report"));
    if (height) box.style.aspectRatio = `${width} / ${height}`;
    return box;
  }
  const poster = el("img", { src: `media/${name}.jpg`, alt: "", loading: "lazy" });
  const video = el("video", {
    muted: true,
    loop: true,
    playsinline: true,
    preload: "none",
    disablepictureinpicture: true,
    "aria-label": `Video of ${words(label)}`,
    tabindex: "-1",
  });
  video.muted = true;
  video.dataset.name = name;
  box.append(poster, video);
  if (height) box.style.aspectRatio = `${width} / ${height}`;
  else poster.addEventListener("load", () => (box.style.aspectRatio = `${poster.naturalWidth} / ${poster.naturalHeight}`));
  if (!options.own && run.masked.includes(name)) {
    const mask = el("div.mask", { "aria-hidden": "true" });
    mask.style.backgroundImage = `url("media/${name}.png")`;
    mask.style.backgroundSize = `100% ${100 * run.latents}%`;
    box.append(mask);
  }
  seen.observe(box);
  return box;
}

function enter(box) {
  const video = box.querySelector("video");
  onScreen.add(box);
  if (!video.src) video.src = `media/${video.dataset.name}.mp4`;
  if (watching.playing) start(video);
}

function leave(box) {
  const video = box.querySelector("video");
  onScreen.delete(box);
  video.pause();
  if (!box.isConnected) {
    seen.unobserve(box);
    video.removeAttribute("src");
    video.load();
  }
}

function start(video) {
  video.play().catch(() => {}); // taken away meanwhile
}

function setPlaying(on) {
  watching.playing = on;
  at("playing").setAttribute("aria-pressed", on);
  for (const box of onScreen) {
    const video = box.querySelector("video");
    if (on) start(video);
    else video.pause();
  }
}

function setMasked(on) {
  watching.masked = on;
  at("masked").setAttribute("aria-pressed", on);
  document.body.classList.toggle("unmasked", !on);
}

function follow() {
  const {
    latents,
    film: { frames, fps },
  } = run;
  const stride = latents > 1 ? (frames - 1) / (latents - 1) : 1;
  for (const box of onScreen) {
    const mask = box.querySelector(".mask");
    if (!mask) continue;
    const frame = Math.min(frames - 1, Math.floor(box.querySelector("video").currentTime * fps + 0.01));
    const latent = Math.min(latents - 1, Math.ceil(frame / stride));
    const y = latents > 1 ? `${(100 * latent) / (latents - 1)}%` : "0%";
    if (mask.style.backgroundPositionY !== y) mask.style.backgroundPositionY = y;
  }
  requestAnimationFrame(follow);
}
