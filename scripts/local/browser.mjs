// A real Chromium for tests in another language: carries out calls on Playwright's objects, one JSON line each.
//   in   {"on": 3, "call": "getByRole", "with": ["button", {"name": "Save"}]}
//   out  {"value": …} for what JSON can say, {"object": 4} for the rest, {"error": "…"}
// Object 0 is the browser.

import { createInterface } from 'node:readline'
import chromium from '@sparticuz/chromium'
import { chromium as driver } from 'playwright-core'

const FLAGS = [
  '--headless=shell',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
  '--font-render-hinting=none',
]
const browser = await driver.launch({
  executablePath: await chromium.executablePath(),
  args: FLAGS,
  headless: true,
})
const objects = [browser]

const isPlain = (value) =>
  value === null ||
  typeof value !== 'object' ||
  Array.isArray(value) ||
  Object.getPrototypeOf(value) === Object.prototype

function given(value) {
  if (Array.isArray(value)) return value.map(given)
  if (value === null || typeof value !== 'object') return value
  if ('object' in value) return objects[value.object]
  if ('regexp' in value) return new RegExp(value.regexp)
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, given(one)]))
}

function told(value) {
  if (Buffer.isBuffer(value)) return { value: value.toString('base64') }
  if (Array.isArray(value) && !value.every(isPlain)) return { objects: value.map((one) => objects.push(one) - 1) }
  return isPlain(value) ? { value: value ?? null } : { object: objects.push(value) - 1 }
}

// What a page says while nobody asks: kept until somebody does.
function watch(context) {
  context.said = []
  context.asked = []
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) context.said.push(`${message.type()}: ${message.text()}`)
  })
  context.on('weberror', (error) => context.said.push(`uncaught: ${error.error().message}`))
  context.on('request', (request) =>
    context.asked.push({ method: request.method(), url: request.url(), headers: request.headers() }),
  )
}

// A function that comes as its text is called there, as one that is written in JavaScript would be.
const A_FUNCTION = /^(async )?\([^)]*\) =>/

const own = {
  evaluate: (page, text) => page.evaluate(A_FUNCTION.test(text) ? `(${text})()` : text),
  newContext: async (target, options) => {
    const context = await target.newContext(options)
    context.setDefaultTimeout(15_000)
    watch(context)
    return context
  },
  // What a module of one's own does with the page: a function of that name.
  carry: async (page, file, name, ...args) => (await import(file))[name](page, ...args),
  // Another script in the place of one of the pages'.
  instead: (page, address, body) =>
    page.route(address, (route) => route.fulfill({ contentType: 'text/javascript', body })),
  said: (context) => context.said.splice(0),
  asked: (context) => context.asked.splice(0),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { on, call, with: args } = JSON.parse(line)
  let answer
  try {
    const target = objects[on]
    const carried = args.map(given)
    const value = own[call]
      ? own[call](target, ...carried)
      : typeof target[call] === 'function'
        ? target[call](...carried)
        : target[call]
    answer = told(await value)
  } catch (error) {
    answer = { error: error.message }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
await browser.close()
