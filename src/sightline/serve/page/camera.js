// The camera in a dialog, where the browser has one to give; else what the device offers for taking pictures.

const dialog = document.querySelector("#camera");
const video = document.querySelector("#video");
let stream = null;

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  video.srcObject = null;
}

dialog.addEventListener("close", stop);

/** Opens the camera; gives every picture that is taken to `take`. */
export async function photograph(take) {
  const fallback = document.querySelector("#capture");
  if (!navigator.mediaDevices?.getUserMedia) return fallback.click();  // a page that came without https has none
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    return fallback.click();  // no camera, or not allowed
  }
  const shoot = document.querySelector("#shoot");
  shoot.disabled = true;  // a press before the first frame would take an empty picture, or nothing
  video.srcObject = stream;
  dialog.showModal();
  try {
    await video.play();
  } catch (error) {
    if (!stream) return;  // closed before the first frame
    throw error;
  }
  shoot.disabled = false;
  shoot.onclick = () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      dialog.close();
      if (blob) take([new File([blob], `photo ${new Date().toLocaleTimeString()}.png`, { type: "image/png" })]);
    }, "image/png");
  };
}
