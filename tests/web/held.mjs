// The answer to what the page asks at an address that contains `part`: it comes when it is let go.
const held = new WeakMap()

export async function hold(page, part) {
  held.set(page, [])
  await page.route(
    (address) => address.href.includes(part),
    async (route) => {
      const response = await route.fetch()
      await new Promise((go) => held.get(page).push(go))
      await route.fulfill({ response })
    },
  )
}

export const number = (page) => held.get(page).length

export function letGo(page) {
  for (const go of held.get(page).splice(0)) go()
}
