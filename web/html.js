// Preact and htm as npm delivers them: `html` makes elements, the rest are hooks. index.html loads the three files.
const { cloneElement, h, render } = window.preact
const { useEffect, useLayoutEffect, useRef, useState } = window.preactHooks

export const html = window.htm.bind(h)
export { cloneElement, render, useEffect, useLayoutEffect, useRef, useState }
