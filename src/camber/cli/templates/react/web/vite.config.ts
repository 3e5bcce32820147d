import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // `camber dev` writes `.env.local` at the project's root.
  envDir: "..",
  plugins: [react()],
  build: { outDir: "dist", emptyOutDir: true },
});
